package policy

import (
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// What is certain of a policy that the hook of package initramfs loads. ima_write_policy
// and ima_lsm_rule_init decide it.

// unknownYet refuses a label that no security module can know as long as it has no
// policy: then ima_filter_rule_init finds none, and as the kernel's own rules are still
// in force, ima_lsm_rule_init returns EINVAL. Smack makes labels as it meets them, and
// AppArmor knows "unconfined" by itself.
func (c *compiler) unknownYet(word Token, label Label, value string) *refusal {
	if !c.target.Early || c.target.Labels {
		return nil
	}
	config := c.target.Config
	built := func(symbol string) bool { return config == nil || config.Builtin(symbol) }
	switch label {
	case ObjUser, SubjUser:
		if built("CONFIG_SECURITY_SMACK") && smackLabel(value) && (config != nil || !strings.HasSuffix(value, "_u")) {
			return nil
		}
	case SubjRole:
		if built("CONFIG_SECURITY_APPARMOR") && strings.Contains(value, "unconfined") {
			return nil
		}
	}
	return refuse(word, RuleLabel, "%s=: in the initramfs no security module has its policy yet, so none knows the label, and the kernel refuses the first policy with such a rule; load these rules later, when that policy is loaded", label)
}

// smackLabel reports whether smk_parse_smack takes a label.
func smackLabel(label string) bool {
	const longest = 255
	return len(label) <= longest && !strings.HasPrefix(label, "-") &&
		!strings.ContainsFunc(label, func(r rune) bool { return r > '~' || r <= ' ' || strings.ContainsRune(`/"\'`, r) })
}

// page is the kernel's PAGE_SIZE, 4096 where the configuration does not say otherwise.
func (t Target) page() int {
	for _, p := range []struct {
		size    int
		symbols []string
	}{
		{64 << 10, []string{"CONFIG_ARM64_64K_PAGES", "CONFIG_PPC_64K_PAGES", "CONFIG_PAGE_SIZE_64KB"}},
		{16 << 10, []string{"CONFIG_ARM64_16K_PAGES", "CONFIG_PPC_16K_PAGES", "CONFIG_PAGE_SIZE_16KB"}},
	} {
		for _, symbol := range p.symbols {
			if t.Config != nil && t.Config.Builtin(symbol) {
				return p.size
			}
		}
	}
	return 4 << 10
}

// length judges a line by what the kernel takes of a write: a page less one byte. The
// next byte is lost, and what is behind that is taken for another rule.
func (t Target) length(line int, text string) []finding.Finding {
	most := t.page() - 1
	switch {
	case len(strings.TrimRight(text, " \t")) <= most:
		return nil
	case !t.Early:
		return []finding.Finding{newFinding(RuleLength, finding.Warn, line, most+1,
			"more than %d bytes: written to securityfs as text, the line is cut here; the policy must be loaded by its path", most)}
	case !strings.HasPrefix(text, "#"): // comments of this form are not written
		return []finding.Finding{newFinding(RuleLength, finding.Refuse, line, most+1,
			"more than %d bytes: the hook of the initramfs writes a line at a time, the kernel takes no more of a write, and the rest is lost or refused", most)}
	}
	return nil
}

// signedOnly refuses text where the kernel takes signed policies by their path alone.
func (t Target) signedOnly() []finding.Finding {
	const symbol = "CONFIG_IMA_APPRAISE_REQUIRE_POLICY_SIGS"
	if !t.Early || t.Config == nil || !t.Config.Builtin(symbol) {
		return nil
	}
	return []finding.Finding{newFinding(RuleRequired, finding.Refuse, 0, 0,
		"the kernel is built with %s: it takes signed policies alone, by their path, and the hook of the initramfs writes rules", symbol)}
}
