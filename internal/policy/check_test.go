package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

func TestFiles(t *testing.T) {
	// The results are those of Linux 6.1.0-56-cloud-amd64 when the files were loaded by path.
	for _, c := range []struct {
		text string
		rule string // of the refusal; "" for none
	}{
		{"measure\n", ""}, {"measure", RuleNewline}, {"measure\x00", ""}, {"measure\n\x00", ""},
		{"measure\x00x", RuleByte}, {"measure\nmeasure\x00\n", RuleByte}, {"", RuleEmpty}, {"# only this\n\n", RuleEmpty},
		{"measure\n# last", RuleNewline}, {"measure\n\n", ""},
	} {
		findings := Check(parse(t, c.text), Target{})
		i := slices.IndexFunc(findings, func(f finding.Finding) bool { return f.Severity == finding.Refuse })
		got := ""
		if i >= 0 {
			got = findings[i].Rule
		}
		if got != c.rule {
			t.Errorf("%q: refused by %q, want %q", c.text, got, c.rule)
		}
	}
}

const (
	imasig   = " appraise_type=imasig\n"
	noPseudo = "dont_appraise fsmagic=0x9fa0\ndont_appraise fsmagic=0x62656572\ndont_appraise fsmagic=0x64626720\ndont_appraise fsmagic=0x01021994\n" +
		"dont_appraise fsmagic=0x858458f6\ndont_appraise fsmagic=0x1cd1\ndont_appraise fsmagic=0x42494e4d\ndont_appraise fsmagic=0x73636673\n" +
		"dont_appraise fsmagic=0xf97cff8c\ndont_appraise fsmagic=0x43415d53\ndont_appraise fsmagic=0x6e736673\ndont_appraise fsmagic=0xde5e81e4\n" +
		"dont_appraise fsmagic=0x27e0eb\ndont_appraise fsmagic=0x63677270\ndont_appraise fsmagic=0x62656570\n"
)

// TestFindings checks for each contradiction and risk a policy that has it, and a similar one
// that does not.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		rule      string
		severity  finding.Severity
		line      int
		bad, good string
		kernel    string
		config    string
		goodSev   bool // the good policy may have a finding of the rule with another severity
	}{
		{rule: RuleShadowed, severity: finding.Error, line: 2, bad: "appraise fowner=0\ndont_appraise fowner=0 fsmagic=1\n", good: "dont_appraise fowner=0 fsmagic=1\nappraise fowner=0\n"},
		{rule: RuleShadowed, severity: finding.Error, line: 2, bad: "dont_appraise\nappraise func=BPRM_CHECK" + imasig, good: "dont_measure\nappraise func=BPRM_CHECK" + imasig},
		{rule: RuleShadowed, severity: finding.Warn, line: 2, bad: "audit uid>0\naudit uid=5\n", good: "audit uid>5\naudit uid=5\n"},
		{rule: RuleShadowed, severity: finding.Error, line: 3, bad: "measure func=FILE_CHECK mask=^MAY_READ\nmeasure func=FILE_CHECK mask=^MAY_WRITE\ndont_measure func=FILE_CHECK mask=^MAY_APPEND\n",
			good: "measure func=FILE_CHECK mask=^MAY_READ\ndont_measure func=FILE_CHECK mask=^MAY_APPEND\n"},
		{rule: RuleShadowed, severity: finding.Warn, line: 2, bad: "measure func=KEY_CHECK keyrings=.ima|.evm\nmeasure func=KEY_CHECK keyrings=.ima\n", good: "measure func=KEY_CHECK keyrings=.ima\nmeasure func=KEY_CHECK keyrings=.ima|.evm\n"},
		{rule: RuleUnreachable, severity: finding.Error, line: 1, bad: "measure func=BPRM_CHECK mask=MAY_READ\n", good: "measure func=BPRM_CHECK mask=MAY_EXEC\n"},
		{rule: RuleUnreachable, severity: finding.Error, line: 1, bad: "measure func=MODULE_CHECK mask=MAY_EXEC\n", good: "measure func=MODULE_CHECK mask=^MAY_READ\n"},
		{rule: RuleUnreachable, severity: finding.Error, line: 1, bad: "measure func=FILE_CHECK mask=MAY_APPEND\n", good: "measure func=FILE_CHECK mask=^MAY_APPEND\n"},
		{rule: RuleUnreachable, severity: finding.Error, line: 1, bad: "measure uid<0\n", good: "measure uid<1\n"},
		{rule: RuleFirstMatch, severity: finding.Error, line: 2, bad: "appraise fowner=0\nappraise func=MODULE_CHECK" + imasig, good: "appraise func=MODULE_CHECK" + imasig + "appraise fowner=0\n"},
		{rule: RuleFirstMatch, severity: finding.Warn, line: 2, bad: "measure uid=0\ndont_measure fsmagic=0x9fa0\n", good: "dont_measure fsmagic=0x9fa0\nmeasure uid=0\n"},
		{rule: RuleVerityMixed, severity: finding.Error, line: 2, bad: "measure func=BPRM_CHECK digest_type=verity\nappraise func=BPRM_CHECK" + imasig, good: "measure func=BPRM_CHECK digest_type=verity\nappraise func=MMAP_CHECK" + imasig},
		{rule: RuleSecondAlgos, severity: finding.Error, line: 2, bad: "appraise func=SETXATTR_CHECK appraise_algos=sha256\nappraise func=SETXATTR_CHECK appraise_algos=sha1\n", good: "appraise func=SETXATTR_CHECK appraise_algos=sha256\n"},
		{rule: RuleShadowed, severity: finding.Error, line: 2, bad: "dont_audit fsname=fuse\naudit fsname=fuse fs_subtype=x\n", good: "dont_audit fs_subtype=x\naudit fs_subtype=y\n", kernel: "7.3"},
		{rule: RuleSigV3Stays, severity: finding.Note, line: 2, bad: "appraise func=BPRM_CHECK euid=0 appraise_type=sigv3\nappraise func=MMAP_CHECK" + imasig, good: "appraise func=BPRM_CHECK appraise_type=sigv3\nappraise func=MODULE_CHECK" + imasig, kernel: "7.1"},
		{rule: RuleSigV3Stays, severity: finding.Note, line: 1, bad: "appraise func=MODULE_CHECK uid=0 appraise_type=imasig\nappraise func=MODULE_CHECK uid>0 appraise_type=sigv3\n", good: "appraise func=MODULE_CHECK fowner=0 appraise_type=imasig\nappraise func=MODULE_CHECK fowner>0 appraise_type=sigv3\n", kernel: "7.1"},
		{rule: RuleSigV3Stays, severity: finding.Note, line: 2, bad: "appraise func=FILE_CHECK mask=MAY_READ uid>0 appraise_type=sigv3\nappraise func=FIRMWARE_CHECK" + imasig, good: "appraise func=FILE_CHECK mask=MAY_READ fsname=ext4 appraise_type=sigv3\nappraise func=FIRMWARE_CHECK fsname=squashfs" + imasig, kernel: "7.3"},
		{rule: RuleSigV3Stays, severity: finding.Note, line: 2, bad: "appraise func=BPRM_CHECK mask=MAY_EXEC appraise_type=sigv3\nappraise func=BPRM_CHECK fowner=0" + imasig, good: "appraise func=BPRM_CHECK digest_type=verity appraise_type=sigv3\nappraise func=BPRM_CHECK" + imasig, kernel: "7.3"},

		{rule: RuleEventLog, severity: finding.Warn, line: 1, bad: "measure func=BPRM_CHECK\n", good: "measure func=BPRM_CHECK fowner=0\n"},
		{rule: RuleEventLog, severity: finding.Warn, line: 1, bad: "measure func=FILE_CHECK mask=MAY_READ\n", good: "measure func=FILE_CHECK mask=MAY_READ uid=0\n"},
		{rule: RuleEventLog, severity: finding.Warn, line: 1, bad: "measure func=MMAP_CHECK uid<2\n", good: "measure func=MODULE_CHECK\n"},
		{rule: RuleDigest, severity: finding.Error, line: 1, bad: "appraise func=POLICY_CHECK\n", good: "appraise func=POLICY_CHECK" + imasig},
		{rule: RuleDigest, severity: finding.Warn, line: 1, bad: "appraise func=BPRM_CHECK\n", good: "appraise func=BPRM_CHECK" + imasig},
		{rule: RulePolicyCheck, severity: finding.Warn, bad: "appraise func=BPRM_CHECK" + imasig, good: "appraise func=POLICY_CHECK" + imasig},
		{rule: RulePolicyCheck, severity: finding.Note, bad: "appraise func=BPRM_CHECK" + imasig, good: "measure func=BPRM_CHECK\n", config: "6.12"},
		{rule: RulePolicyCheck, severity: finding.Error, bad: "appraise func=BPRM_CHECK" + imasig, good: "appraise func=POLICY_CHECK" + imasig, config: "+CONFIG_IMA_WRITE_POLICY"},
		{rule: RulePseudo, severity: finding.Error, line: 1, bad: "appraise fowner=0\n", good: noPseudo + "appraise fowner=0\n"},
		{rule: RulePseudo, severity: finding.Error, line: 15, bad: strings.Replace(noPseudo, "dont_appraise fsmagic=0x9fa0\n", "", 1) + "appraise" + imasig, good: noPseudo + "appraise" + imasig},
		{rule: RulePseudo, severity: finding.Error, line: 16, bad: strings.Replace(noPseudo, "=0x9fa0", "=0x9fa0 fowner=7", 1) + "appraise" + imasig, good: strings.Replace(noPseudo, "fsmagic=0x9fa0", "fsname=proc", 1) + "appraise" + imasig},
		{rule: RulePseudo, severity: finding.Error, line: 16, bad: strings.Replace(noPseudo, "=0x9fa0", "=0x9fa0 mask=MAY_READ", 1) + "appraise" + imasig, good: strings.Replace(noPseudo, "=0x9fa0", "=0x9fa0 func=FILE_CHECK", 1) + "appraise" + imasig},
		{rule: RulePseudo, severity: finding.Error, line: 1, bad: "appraise func=FILE_CHECK" + imasig, good: "appraise func=BPRM_CHECK" + imasig},
		{rule: RulePseudo, severity: finding.Warn, line: 1, bad: "measure func=FILE_CHECK\n", good: "measure func=FILE_CHECK fsuuid=8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6\n"},
		{rule: RuleDropsXattr, severity: finding.Error, line: 1, bad: "dont_appraise func=FILE_CHECK\n", good: "dont_appraise fsmagic=0x9fa0\n", kernel: "5.15"},
		{rule: RuleUnwritable, severity: finding.Warn, line: 1, bad: "appraise func=FILE_CHECK mask=MAY_WRITE\n", good: "appraise func=FILE_CHECK mask=MAY_READ\n"},
		{rule: RuleUnwritable, severity: finding.Warn, line: 1, bad: "appraise fowner=0" + imasig, good: "appraise fowner=0 fsname=squashfs" + imasig},
		{rule: RuleFreeze, severity: finding.Warn, line: 1, bad: "appraise fowner=0" + imasig, good: "appraise fowner=0\n"},
		{rule: RuleAuditMissing, severity: finding.Note, bad: "measure uid=0\n", good: "measure uid=0\naudit uid=0\n"},
		{rule: RulePCR, severity: finding.Warn, line: 1, bad: "measure uid=0 pcr=7\n", good: "measure uid=0 pcr=10\n"},
		{rule: RulePCR, severity: finding.Warn, line: 1, bad: "measure uid=0 pcr=24\n", good: "measure uid=0 pcr=10\n"},
		{rule: RulePCR, severity: finding.Warn, line: 1, bad: "measure uid=0 pcr=23\n", good: "measure uid=0 pcr=10\n"},
		{rule: RulePCR, severity: finding.Note, bad: "measure uid=0\n", good: "appraise uid=0\n"},
		{rule: RuleLibraries, severity: finding.Warn, line: 1, bad: "appraise func=BPRM_CHECK" + imasig, good: "appraise func=BPRM_CHECK" + imasig + "appraise func=MMAP_CHECK" + imasig},
		{rule: RuleScripts, severity: finding.Warn, line: 1, bad: "appraise func=MMAP_CHECK" + imasig, good: "appraise func=BPRM_CHECK" + imasig + "appraise func=MMAP_CHECK" + imasig},
		{rule: RuleUsers, severity: finding.Note, line: 1, bad: "appraise func=BPRM_CHECK euid=0" + imasig, good: "appraise func=BPRM_CHECK" + imasig},
		{rule: RuleUsers, severity: finding.Warn, line: 1, bad: "appraise func=MODULE_CHECK euid=0" + imasig, good: "appraise func=MODULE_CHECK" + imasig},
		{rule: RuleDirectIO, severity: finding.Warn, line: 1, bad: "appraise permit_directio" + imasig, good: "appraise" + imasig},
		{rule: RuleDirectIO, severity: finding.Warn, line: 1, bad: "measure permit_directio\n", good: "measure\n"},
		{rule: RuleExempt, severity: finding.Warn, line: 1, bad: "dont_appraise fsmagic=0x01021994\nappraise func=BPRM_CHECK" + imasig, good: "dont_appraise fsmagic=0x01021994 func=FILE_CHECK\nappraise func=BPRM_CHECK" + imasig},
		{rule: RuleModuleLoading, severity: finding.Note, line: 1, bad: "appraise func=MODULE_CHECK" + imasig, good: "appraise func=FIRMWARE_CHECK" + imasig},
		{rule: RuleFirmware, severity: finding.Note, line: 1, bad: "appraise func=FIRMWARE_CHECK" + imasig, good: "appraise func=MODULE_CHECK" + imasig},
		{rule: RuleKexec, severity: finding.Note, line: 1, bad: "appraise func=KEXEC_KERNEL_CHECK" + imasig, good: "appraise func=KEXEC_INITRAMFS_CHECK" + imasig},

		{rule: RuleConfig, severity: finding.Warn, line: 1, bad: "measure digest_type=verity\n", good: "measure\n"},
		{rule: RuleConfig, severity: finding.Error, line: 1, bad: "measure digest_type=verity\n", good: "measure\n", config: "-CONFIG_FS_VERITY"},
		{rule: RuleConfig, severity: finding.Warn, line: 1, bad: "appraise func=MODULE_CHECK appraise_type=imasig|modsig\n", good: "appraise func=MODULE_CHECK" + imasig},
		{rule: RuleConfig, severity: finding.Refuse, line: 1, bad: "appraise func=MODULE_CHECK appraise_type=imasig|modsig\n", good: "appraise func=MODULE_CHECK" + imasig, config: "6.12"},
		{rule: RuleNotForFunc, severity: finding.Refuse, line: 1, bad: "appraise func=BPRM_CHECK appraise_type=imasig|modsig\n", good: "appraise func=MODULE_CHECK appraise_type=imasig|modsig\n", config: "+CONFIG_IMA_APPRAISE_MODSIG"},
		{rule: RuleMissing, severity: finding.Refuse, line: 1, kernel: "6.1", config: "+CONFIG_IMA_APPRAISE_MODSIG",
			bad: "appraise func=MODULE_CHECK appraise_type=imasig appraise_flag=check_blacklist\n", good: "appraise func=MODULE_CHECK appraise_type=imasig|modsig appraise_flag=check_blacklist\n"},
		{rule: RuleConfig, severity: finding.Warn, line: 1, bad: "measure func=KEY_CHECK\n", good: "measure func=CRITICAL_DATA\n"},
		{rule: RuleConfig, severity: finding.Refuse, line: 1, bad: "measure func=KEY_CHECK\n", good: "measure func=CRITICAL_DATA\n", config: "-CONFIG_IMA_MEASURE_ASYMMETRIC_KEYS"},
		{rule: RuleConfig, severity: finding.Warn, line: 1, bad: "appraise appraise_algos=sha512\n", good: "appraise appraise_algos=sha256\n"},
		{rule: RuleConfig, severity: finding.Warn, line: 1, bad: "appraise appraise_algos=wp512\n", good: "appraise appraise_algos=sha512\n", config: "6.12"},
		{rule: RuleLabel, severity: finding.Warn, line: 1, bad: "measure obj_type=bin_t\n", good: "measure uid=0\n"},
		{rule: RuleLabel, severity: finding.Refuse, line: 1, bad: "measure obj_type=bin_t\n", good: "measure subj_role=x\n", config: "-CONFIG_SECURITY_SELINUX", goodSev: true},
		{rule: RuleLabel, severity: finding.Refuse, line: 1, bad: "measure subj_role=x\n", good: "measure uid=0\n", config: "-CONFIG_IMA_LSM_RULES"},
		{rule: RuleAppraisalOff, severity: finding.Error, line: 1, bad: "appraise" + imasig, good: "measure\n", config: "-CONFIG_IMA_APPRAISE"},
		{rule: RuleNoSignatures, severity: finding.Error, line: 1, bad: "appraise" + imasig, good: "appraise uid=0\n", config: "-CONFIG_INTEGRITY_ASYMMETRIC_KEYS"},
		{rule: RuleSigV3EVM, severity: finding.Note, line: 1, bad: "appraise func=BPRM_CHECK appraise_type=sigv3\n", good: "appraise func=BPRM_CHECK digest_type=verity appraise_type=sigv3\n", kernel: "7.1"},
		{rule: RuleMLDSA, severity: finding.Note, line: 1, bad: "appraise func=BPRM_CHECK appraise_type=sigv3\n", good: "appraise func=BPRM_CHECK" + imasig, kernel: "7.1"},
		{rule: RuleMLDSA, severity: finding.Note, line: 1, bad: "appraise func=BPRM_CHECK appraise_type=sigv3\n", good: "appraise func=BPRM_CHECK" + imasig, kernel: "7.3", config: "6.12"},
		{rule: RuleAppraisalOff, severity: finding.Error, bad: "measure\n", config: "-CONFIG_IMA"},
		{rule: RuleOneLoad, severity: finding.Note, bad: "measure\n", config: "6.12"},
		{rule: RuleRequired, severity: finding.Note, bad: "measure\n", config: "+CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS"},
		{rule: RuleDeprecated, severity: finding.Note, line: 1, bad: "appraise appraise_flag=check_blacklist" + imasig, good: "appraise" + imasig},
		{rule: RuleIgnored, severity: finding.Warn, line: 1, bad: "measure func=KEY_CHECK gid=0\n", good: "measure func=KEY_CHECK uid=0\n"},
		{rule: RuleIgnored, severity: finding.Warn, line: 1, bad: "measure pcr=4 pcr=5\n", good: "measure pcr=4\n"},
		{rule: RuleIgnored, severity: finding.Warn, line: 1, bad: "measure fsname=ext4 fsname=xfs\n", good: "measure fsname=ext4\n"},
		{rule: RuleIgnored, severity: finding.Note, line: 1, bad: "appraise appraise_type=imasig digest_type=verity\n", good: "appraise appraise_type=sigv3 digest_type=verity\n", kernel: "7.1"},
		{rule: RuleNewline, severity: finding.Error, line: 1, bad: "measure fsname=ext4\r\n", good: "measure fsname=ext4\n"},
		{rule: RuleNewline, severity: finding.Error, line: 1, bad: "measure obj_type=bin_t\r\n", good: "measure obj_type=bin_t\n"},
		{rule: RuleNewline, severity: finding.Error, line: 1, bad: "measure func=CRITICAL_DATA label=selinux\r\n", good: "measure func=CRITICAL_DATA label=selinux\n"},
		{rule: RuleNewline, severity: finding.Error, line: 1, bad: "measure fs_subtype=x\r\n", good: "measure fs_subtype=x # x\r\n", kernel: "7.3"},
		{rule: RuleNewline, severity: finding.Refuse, line: 1, bad: "measure uid=0\r\n", good: "measure uid=x\r\n"},
		{rule: RulePseudo, severity: finding.Error, line: 1, bad: "appraise func=FILE_CHECK fsname=proc\n", good: "appraise func=BPRM_CHECK fsname=proc\n"},
		{rule: RulePseudo, severity: finding.Error, line: 2, bad: "dont_appraise fsname=sysfs\nappraise func=FILE_CHECK fsmagic=0x73636673\n", good: "dont_appraise fsname=securityfs\nappraise func=FILE_CHECK fsname=securityfs\n"},
		{rule: RulePseudo, severity: finding.Warn, line: 1, bad: "appraise func=FILE_CHECK fsname=tmpfs\n", good: "appraise func=FILE_CHECK fsname=ext4\n"},
		{rule: RuleLength, severity: finding.Warn, line: 1, bad: "#" + strings.Repeat("x", 4095) + "\nmeasure\n", good: "#" + strings.Repeat("x", 4094) + "\nmeasure\n"},
		{rule: RuleTooMany, severity: finding.Warn, line: 1001, bad: strings.Repeat("audit\n", 1001), good: strings.Repeat("audit\n", 1000)},
		{rule: RuleKernel, severity: finding.Note, bad: "measure\n", kernel: "5.15"},
		{rule: RuleKernel, severity: finding.Note, bad: "measure\n", kernel: "7.4"},
		{rule: RuleNewer, severity: finding.Refuse, line: 1, bad: "dont_audit uid=0\n", good: "audit uid=0\n", kernel: "6.18"},
		{rule: RuleNewer, severity: finding.Refuse, line: 1, bad: "audit uid=0 # x\n", good: "# x\naudit uid=0\n", kernel: "6.13"},
		{rule: RuleOrder, severity: finding.Refuse, line: 1, bad: "appraise appraise_type=sigv3\n", good: "appraise digest_type=verity appraise_type=sigv3\n", kernel: "7.0"},
		{rule: RuleOrder, severity: finding.Refuse, line: 1, bad: "appraise appraise_type=sigv3 digest_type=verity\n", good: "appraise digest_type=verity appraise_type=sigv3\n", kernel: "7.0"},
		{rule: RuleNewer, severity: finding.Refuse, line: 1, bad: "measure gid=0\n", good: "measure uid=0\n", kernel: "5.15"},
		{rule: RuleNewer, severity: finding.Refuse, line: 1, bad: "measure template=ima-ngv2\n", good: "measure template=ima-ng\n", kernel: "5.15"},
		{rule: RuleNewer, severity: finding.Refuse, line: 1, bad: "appraise appraise_algos=sha3-256\n", good: "appraise appraise_algos=sha256\n", kernel: "6.6"},
	} {
		k := Target{Profile: kernel.Profile{Config: changedConfig(t, c.config)}}
		if c.kernel != "" {
			k.Version = version(t, c.kernel)
		}
		want := func(f finding.Finding) bool { return f.Rule == c.rule && f.Severity == c.severity && f.Line == c.line }
		if findings := Check(parse(t, c.bad), k); !slices.ContainsFunc(findings, want) {
			t.Errorf("%q (Linux %s): no %s %s in line %d: %v", c.bad, k.Version, c.severity, c.rule, c.line, findings)
		}
		if c.good == "" {
			continue
		}
		same := func(f finding.Finding) bool {
			return f.Rule == c.rule && (!c.goodSev || f.Severity == c.severity) && f.Severity != finding.Note || want(f)
		}
		if findings := Check(parse(t, c.good), k); slices.ContainsFunc(findings, same) {
			t.Errorf("%q (Linux %s): %s: %v", c.good, k.Version, c.rule, findings)
		}
	}
}

// changedConfig returns Debian's configuration of 6.12 with a symbol added or removed, or nil
// for "".
func changedConfig(t *testing.T, change string) *kernel.Config {
	t.Helper()
	if change == "" {
		return nil
	}
	if change == "6.12" { // unchanged
		return config(t, change)
	}
	return config(t, "6.12", change)
}

// TestMoments compares the first rule that matches with the PCR numbers in the measurement
// lists of Linux 6.1.0-56 and 6.12.117 (Debian, booted with this policy). Before that, a
// program had opened files in every way, executed a program and a script, and mapped a file.
func TestMoments(t *testing.T) {
	rules, findings := Target{}.Rules(parse(t, `measure func=FILE_CHECK mask=MAY_APPEND pcr=20
measure func=BPRM_CHECK mask=MAY_READ pcr=21
measure func=MMAP_CHECK mask=MAY_READ pcr=22
measure func=FILE_CHECK mask=MAY_READ pcr=11
measure func=FILE_CHECK mask=MAY_WRITE pcr=12
measure func=FILE_CHECK mask=MAY_EXEC pcr=13
measure func=FILE_CHECK mask=^MAY_APPEND pcr=14
measure func=FILE_CHECK mask=^MAY_WRITE pcr=15
measure func=BPRM_CHECK mask=MAY_EXEC pcr=16
measure func=MMAP_CHECK mask=MAY_EXEC pcr=17
measure func=CREDS_CHECK pcr=18
`))
	if findings != nil {
		t.Fatal(findings)
	}
	seen := map[moment]int{
		{FileCheck, accessRead}: 11, {FileCheck, accessWrite}: 12, {FileCheck, accessRead | accessWrite}: 15,
		{FileCheck, accessRead | accessAppend}: 14, {FileCheck, accessWrite | accessAppend}: 14, {FileCheck, accessRead | accessWrite | accessAppend}: 14,
		{FileCheck, accessExec}: 13, {BprmCheck, accessExec}: 16, {MmapCheck, accessExec}: 17, {CredsCheck, accessExec}: 18,
	}
	for m, pcr := range seen {
		i := slices.IndexFunc(rules, func(r *Rule) bool {
			return r.moments()&momentsOf(func(o moment) bool { return o == m }) != 0
		})
		if i < 0 || *rules[i].PCR != pcr {
			t.Errorf("%v: rule %d, but the kernel extended PCR %d", m, i+1, pcr)
		}
	}
}

func TestFindingsAreInOrder(t *testing.T) {
	findings := Check(parse(t, "measure\nfoo\nappraise\nappraise fowner=0 appraise_type=imasig\nmeasure bar"), Target{})
	for i := 1; i < len(findings); i++ {
		a, b := findings[i-1], findings[i]
		if a.Line == 0 && b.Line != 0 || a.Line > b.Line && b.Line != 0 || a.Line == b.Line && a.Column > b.Column {
			t.Errorf("%v comes before %v", a, b)
		}
	}
	if !finding.Wrong(findings) || !finding.Refused(findings) {
		t.Error("not wrong")
	}
}
