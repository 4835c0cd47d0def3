package policy

import (
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// This file has the checks of a policy that the hook of package initramfs loads, after
// ima_write_policy and ima_lsm_rule_init of the kernel.

// unknownYet refuses a label that no security module can know before it has its own policy.
// Then ima_filter_rule_init does not find the label, and ima_lsm_rule_init returns EINVAL,
// because the kernel's built-in rules are still in force. Exceptions: Smack creates labels on
// demand, and AppArmor always knows "unconfined".
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
	return refuse(word, RuleLabel, "%s=: in the initramfs no security module has its policy yet, so none knows the label, and the kernel refuses the first policy with such a rule: load these rules later, after the module's policy", label)
}

// smackLabel reports whether smk_parse_smack accepts a label.
func smackLabel(label string) bool {
	const longest = 255
	return len(label) <= longest && !strings.HasPrefix(label, "-") &&
		!strings.ContainsFunc(label, func(r rune) bool { return r > '~' || r <= ' ' || strings.ContainsRune(`/"\'`, r) })
}

// page returns the kernel's PAGE_SIZE in bytes: 4096, unless the configuration says otherwise.
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

// length checks the length of a line. The kernel accepts a page less one byte of a write. The
// next byte is lost, and the rest is read as another rule.
func (t Target) length(line int, text string) []finding.Finding {
	most := t.page() - 1
	switch {
	case len(strings.TrimRight(text, " \t")) <= most:
		return nil
	case !t.Early:
		return []finding.Finding{newFinding(RuleLength, finding.Warn, line, most+1,
			"more than %d bytes: if the policy is written to securityfs as text, the line is cut here: load the policy by its path", most)}
	case !strings.HasPrefix(text, "#"): // the hook does not write comments in the first column
		return []finding.Finding{newFinding(RuleLength, finding.Refuse, line, most+1,
			"more than %d bytes: the hook of the initramfs writes one line at a time, and the kernel accepts no more in one write: the rest is lost or refused", most)}
	}
	return nil
}

// signedOnly refuses a policy that is written as text if the kernel accepts only signed
// policies, which are loaded by their path.
func (t Target) signedOnly() []finding.Finding {
	const symbol = "CONFIG_IMA_APPRAISE_REQUIRE_POLICY_SIGS"
	if !t.Early || t.Config == nil || !t.Config.Builtin(symbol) {
		return nil
	}
	return []finding.Finding{newFinding(RuleRequired, finding.Refuse, 0, 0,
		"the kernel is built with %s: it accepts only signed policies that are loaded by their path, but the hook of the initramfs writes rules as text", symbol)}
}
