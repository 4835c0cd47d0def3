package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// TestEarly checks findings that are certain if the hook of the initramfs loads the policy, and
// only warnings otherwise. tests/kernel checks the same with booted kernels.
func TestEarly(t *testing.T) {
	const audit = "audit func=BPRM_CHECK\n"
	long := audit[:len(audit)-1] + strings.Repeat(" ", 4075) + "fowner=0\n" // 4,104 bytes
	for _, c := range []struct {
		text   string
		rule   string // of the refusal; "" for none
		config string
		labels bool
	}{
		{text: "audit obj_type=bin_t\n", rule: RuleLabel},
		{text: "audit obj_role=object_r\n", rule: RuleLabel},
		{text: "audit subj_type=init_t\n", rule: RuleLabel},
		{text: "audit subj_role=system_r\n", rule: RuleLabel},
		{text: "audit obj_user=system_u\n", rule: RuleLabel},
		{text: "audit subj_user=system_u\n", rule: RuleLabel},
		{text: "audit obj_type=bin_t\n", labels: true},
		{text: audit + "# a comment\n\naudit func=MMAP_CHECK subj_type=init_t\n", rule: RuleLabel},
		// Smack creates labels, but only of its own form.
		{text: "audit obj_user=System\n"},
		{text: "audit subj_user=_\n"},
		{text: "audit obj_user=a/b\n", rule: RuleLabel},
		{text: "audit obj_user=-a\n", rule: RuleLabel},
		{text: "audit obj_user=" + strings.Repeat("x", 256) + "\n", rule: RuleLabel},
		{text: "audit obj_user=system_u\n", config: "+CONFIG_SECURITY_SMACK"},
		{text: "audit obj_user=System\n", config: "6.12", rule: RuleLabel},
		{text: "audit obj_type=System\n", config: "+CONFIG_SECURITY_SMACK", rule: RuleLabel},
		// AppArmor has one profile without a policy.
		{text: "audit subj_role=unconfined\n"},
		{text: "audit subj_role=unconfined\n", config: "-CONFIG_SECURITY_APPARMOR", rule: RuleLabel},
		{text: "audit subj_role=/usr/bin/man\n", rule: RuleLabel},
		// The kernel accepts a page less one byte in a write. The hook does not write comments
		// in the first column.
		{text: long, rule: RuleLength},
		{text: long, config: "+CONFIG_ARM64_64K_PAGES"},
		{text: audit[:len(audit)-1] + strings.Repeat(" ", 5000) + "\n"},
		{text: "#" + strings.Repeat("x", 5000) + "\n" + audit},
		{text: " #" + strings.Repeat("x", 5000) + "\n" + audit, rule: RuleLength},
		// The hook writes the newline.
		{text: strings.TrimSuffix(audit, "\n")},
		{text: "# nothing\n", rule: RuleEmpty},
		// Text for a kernel that requires signed policies.
		{text: audit, config: "+CONFIG_IMA_APPRAISE_REQUIRE_POLICY_SIGS", rule: RuleRequired},
		{text: "appraise func=POLICY_CHECK appraise_type=imasig\n" + audit},
	} {
		k := Target{Profile: kernel.Profile{Config: changedConfig(t, c.config)}, Early: true, Labels: c.labels}
		findings := Check(parse(t, c.text), k)
		i := slices.IndexFunc(findings, func(f finding.Finding) bool { return f.Severity == finding.Refuse })
		got := ""
		if i >= 0 {
			got = findings[i].Rule
		}
		if got != c.rule {
			t.Errorf("%.60q (%s): refused by %q, want %q", c.text, c.config, got, c.rule)
		}
	}
	// Otherwise there is only a warning.
	for _, text := range []string{"audit obj_type=bin_t\n", long} {
		if findings := Check(parse(t, text), Target{}); finding.Refused(findings) || len(findings) == 0 {
			t.Errorf("%.60q: %v", text, findings)
		}
	}
}
