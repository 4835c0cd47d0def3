package policy

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

func (c *compiler) setSecurityLabel(word Token, label Label, value string) *refusal {
	if _, met := c.rule.Labels[label]; met {
		return refuse(word, RuleRepeated, "%s= is given twice", label)
	}
	r := c.unknownYet(word, label, value)
	if r == nil {
		r = c.module(word, label)
	}
	if r != nil {
		return r
	}
	if c.rule.Labels == nil {
		c.rule.Labels = map[Label]string{}
	}
	c.rule.Labels[label] = value
	c.mark(flagSubjObj, word)
	return nil
}

// module checks that a security module has such labels. If no module knows a label, the
// kernel refuses the first policy that is loaded. It accepts later ones, but the rule never
// matches.
func (c *compiler) module(word Token, label Label) *refusal {
	const later = "; a later policy is accepted, but the rule never matches"
	config := c.target.Config
	if config == nil {
		c.remark(word, RuleLabel, finding.Warn, "%s= needs CONFIG_IMA_LSM_RULES and a running security module that knows the label; otherwise the first policy that is loaded is refused%s", label, later)
		return nil
	}
	if !config.Builtin("CONFIG_IMA_LSM_RULES") {
		return refuse(word, RuleLabel, "%s= needs CONFIG_IMA_LSM_RULES, but the kernel is built without it: it refuses the first policy with such a rule%s", label, later)
	}
	var known []string
	for _, m := range []struct {
		name, symbol string
		labels       []Label
	}{
		{"SELinux", "CONFIG_SECURITY_SELINUX", labels()},
		{"Smack", "CONFIG_SECURITY_SMACK", []Label{ObjUser, SubjUser}},
		{"AppArmor", "CONFIG_SECURITY_APPARMOR", []Label{SubjRole}},
	} {
		if config.Builtin(m.symbol) && slices.Contains(m.labels, label) {
			known = append(known, m.name)
		}
	}
	if len(known) == 0 {
		return refuse(word, RuleLabel, "no security module in this kernel supports %s=: the kernel refuses the first policy with such a rule%s", label, later)
	}
	c.remark(word, RuleLabel, finding.Warn, "%s= is refused unless %s is running and knows the label when the policy is loaded", label, strings.Join(known, " or "))
	return nil
}
