package policy

import (
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// policyCheck checks that policies must be signed. Only a rule with func=POLICY_CHECK makes the
// kernel refuse policies that are written as text.
func (j *judge) policyCheck() {
	c := j.target.Config
	if j.first(Appraise, ^moments(0)) == nil || c != nil && c.Builtin("CONFIG_IMA_APPRAISE_REQUIRE_POLICY_SIGS") {
		return
	}
	for _, r := range j.rules {
		if r.Action == Appraise && r.Func == PolicyCheck {
			return
		}
	}
	const what = "no appraise func=POLICY_CHECK: "
	switch {
	case c == nil:
		j.add(nil, RulePolicyCheck, finding.Warn, what+"root can load further rules as text, without a signature, on kernels with CONFIG_IMA_WRITE_POLICY")
	case c.Builtin("CONFIG_IMA_WRITE_POLICY"):
		j.add(nil, RulePolicyCheck, finding.Error, what+"root can load further rules as text, without a signature (CONFIG_IMA_WRITE_POLICY=y)")
	default:
		j.add(nil, RulePolicyCheck, finding.Note, what+"this kernel accepts only one policy, so nothing can be added to it; the program that loads it must make sure that it is signed")
	}
}

// gaps warns of appraisal that can be bypassed.
func (j *judge) gaps() {
	run, mapped := j.first(Appraise, asks(BprmCheck)), j.first(Appraise, asks(MmapCheck, MmapCheckReqProt))
	switch {
	case run != nil && mapped == nil:
		j.add(run, RuleLibraries, finding.Warn, "programs are appraised, but not the files that they map (func=MMAP_CHECK): a changed library or dynamic loader runs inside them")
	case mapped != nil && run == nil:
		j.add(mapped, RuleScripts, finding.Warn, "mapped code is appraised, but not scripts (func=BPRM_CHECK), which their interpreter only reads")
	}
}

// measurements reports the effects of measuring.
func (j *judge) measurements() {
	measured := j.first(Measure, ^moments(0))
	if measured == nil {
		return
	}
	if j.first(Audit, ^moments(0)) == nil {
		j.add(nil, RuleAuditMissing, finding.Note, "measures without an audit rule: the digests of files are only in the measurement list, which is lost at the next boot; an audit rule for the same files writes them to the audit log")
	}
	index := "10"
	if c := j.target.Config; c != nil && c.Value("CONFIG_IMA_MEASURE_PCR_IDX") != "" {
		index = c.Value("CONFIG_IMA_MEASURE_PCR_IDX")
	}
	for _, r := range j.rules {
		if r.Action == Measure && r.PCR == nil {
			j.add(nil, RulePCR, finding.Note, "measurements extend PCR %s in the order of file accesses, which differs at each boot: a disk key (LUKS) that is sealed to it cannot be unsealed", index)
			return
		}
	}
}

// configuration checks the policy against the kernel's configuration.
func (j *judge) configuration() {
	verity := -1
	for i, r := range j.rules {
		if r.Verity {
			verity = i
			break
		}
	}
	c := j.target.Config
	if c == nil {
		if verity >= 0 {
			j.add(j.rules[verity], RuleConfig, finding.Warn, "digest_type=verity needs CONFIG_FS_VERITY; without it the rule is accepted, but no file has such a digest")
		}
		return
	}
	if !c.Builtin("CONFIG_IMA") {
		j.add(nil, RuleAppraisalOff, finding.Error, "the kernel is built without CONFIG_IMA: it has no policy")
		return
	}
	if r := j.first(Appraise, ^moments(0)); r != nil && !c.Builtin("CONFIG_IMA_APPRAISE") {
		j.add(r, RuleAppraisalOff, finding.Error, "the kernel is built without CONFIG_IMA_APPRAISE: it accepts appraise rules, but ignores them")
	}
	const asymmetric = "CONFIG_INTEGRITY_ASYMMETRIC_KEYS"
	if r := j.firstSigned(); r != nil && !c.Builtin(asymmetric) {
		j.add(r, RuleNoSignatures, finding.Error, "the kernel is built without %s: it verifies no signature, and refuses every file that the rule matches", asymmetric)
	}
	if verity >= 0 && !c.Builtin("CONFIG_FS_VERITY") {
		j.add(j.rules[verity], RuleConfig, finding.Error, "digest_type=verity needs CONFIG_FS_VERITY, but the kernel is built without it: the rule is accepted, but no file has such a digest")
	}
	if !c.Builtin("CONFIG_IMA_WRITE_POLICY") {
		j.add(nil, RuleOneLoad, finding.Note, "this kernel accepts only one policy in place of its built-in one (CONFIG_IMA_WRITE_POLICY is not set)")
	}
	j.required(c)
}

// required reports the kernel's built-in rules that come before those of the policy.
func (j *judge) required(c *kernel.Config) {
	var built []string
	for _, b := range []struct{ symbol, hook string }{
		{"CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS", "MODULE_CHECK"}, {"CONFIG_IMA_APPRAISE_REQUIRE_FIRMWARE_SIGS", "FIRMWARE_CHECK"},
		{"CONFIG_IMA_APPRAISE_REQUIRE_KEXEC_SIGS", "KEXEC_KERNEL_CHECK"}, {"CONFIG_IMA_APPRAISE_REQUIRE_POLICY_SIGS", "POLICY_CHECK"},
	} {
		if c.Builtin(b.symbol) {
			built = append(built, b.hook)
		}
	}
	if built != nil {
		j.add(nil, RuleRequired, finding.Note, "the kernel is built with appraise rules for %s that come before this policy and require signatures", strings.Join(built, ", "))
	}
}
