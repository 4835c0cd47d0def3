package policy

import "github.com/imasign/imasign-build/internal/finding"

func newFinding(rule string, severity finding.Severity, line, column int, format string, args ...any) finding.Finding {
	return finding.New(rule, severity, format, args...).At(line, column)
}

// Names of findings about single lines, most of which the kernel refuses.
const (
	RuleWord         = "unknown-word"     // not an action, condition or option
	RuleNewer        = "newer-kernel"     // a word of a later release
	RuleValue        = "bad-value"        // a wrong value of a condition or option
	RuleNumber       = "bad-number"       // not a number, or out of range
	RuleRepeated     = "repeated"         // a word that may appear only once
	RuleOrder        = "order"            // right words in the wrong order
	RuleNoAction     = "no-action"        // a rule without an action
	RuleNotForAction = "not-for-action"   // an option of another action
	RuleNotForFunc   = "not-for-func"     // a condition, option or action that the func does not support
	RuleMissing      = "missing-option"   // an option that another word needs
	RuleConfig       = "configuration"    // needs a CONFIG_ symbol
	RuleLabel        = "label"            // needs a security module, or a label in its policy
	RuleNewline      = "newline"          // no newline at the end, or CR LF
	RuleByte         = "byte"             // a NUL byte
	RuleEmpty        = "no-rules"         // a policy without rules
	RuleLength       = "line-length"      // too long to be written line by line
	RuleIgnored      = "ignored"          // accepted, but without effect
	RuleDeprecated   = "deprecated"       // accepted, but not needed
	RuleKernel       = "kernel"           // a release that is not modelled
	RuleUnread       = "value-not-judged" // accepted if the device knows the value
)

// Names of findings about rules that contradict each other.
const (
	RuleShadowed    = "shadowed"       // earlier rules decide about everything that the rule matches
	RuleUnreachable = "unreachable"    // the rule matches nothing
	RuleFirstMatch  = "first-match"    // an earlier rule decides about a part of what the rule matches
	RuleVerityMixed = "verity-mixed"   // options of one rule also apply to another
	RuleTooMany     = "too-many-rules" // too many rules to compare
	RuleSecondAlgos = "setxattr-twice" // a second SETXATTR_CHECK rule
	RuleSigV3Stays  = "sigv3-stays"    // the demand of one rule for version 3 also applies at another
)

// Names of findings about risks.
const (
	RuleEventLog      = "event-log"      // users can fill the kernel's memory with measurements
	RuleDigest        = "digest"         // accepts a digest, which anybody who can write the file can make
	RulePolicyCheck   = "policy-check"   // policies without a signature can be loaded
	RulePseudo        = "pseudo-fs"      // appraises or measures proc, sysfs and the like
	RuleDropsXattr    = "drops-xattr"    // chmod and chown remove security.ima
	RuleUnwritable    = "unwritable"     // signed files cannot be opened for writing
	RuleFreeze        = "freeze"         // appraises files that a running system makes
	RuleAuditMissing  = "no-audit"       // measures without writing to the audit log
	RulePCR           = "pcr"            // extends a PCR that disk keys are sealed to
	RuleLibraries     = "libraries"      // programs are appraised, but not the files that they map
	RuleScripts       = "scripts"        // mapped code is appraised, but not scripts
	RuleUsers         = "users"          // only root is covered
	RuleExempt        = "exempt-code"    // programs on a file system run without appraisal
	RuleDirectIO      = "direct-io"      // O_DIRECT bypasses appraisal
	RuleModuleLoading = "module-loading" // init_module is refused
	RuleKexec         = "kexec-load"     // kexec_load is refused
	RuleFirmware      = "firmware-sysfs" // loading by sysfs is refused
	RuleAppraisalOff  = "appraisal-off"  // the kernel cannot appraise
	RuleOneLoad       = "one-load"       // the kernel accepts only one policy
	RuleRequired      = "required"       // the kernel is built with its own rules
	RuleSigV3EVM      = "sigv3-evm"      // a portable EVM signature of version 2 satisfies sigv3
	RuleMLDSA         = "mldsa"          // the kernel verifies no ML-DSA signatures
	RuleNoSignatures  = "no-signatures"  // the kernel verifies no signatures at all
)
