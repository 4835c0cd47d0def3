package policy

import "github.com/imasign/imasign-build/internal/finding"

func newFinding(rule string, severity finding.Severity, line, column int, format string, args ...any) finding.Finding {
	return finding.New(rule, severity, format, args...).At(line, column)
}

// Why the kernel refuses a line.
const (
	RuleWord         = "unknown-word"     // no action, condition or option
	RuleNewer        = "newer-kernel"     // of a later release
	RuleValue        = "bad-value"        // of a condition or option
	RuleNumber       = "bad-number"       // not a number, or out of range
	RuleRepeated     = "repeated"         // that may be given once
	RuleOrder        = "order"            // right words in the wrong order
	RuleNoAction     = "no-action"        // a rule without one
	RuleNotForAction = "not-for-action"   // an option of another action
	RuleNotForFunc   = "not-for-func"     // a condition, option or action that the func does not take
	RuleMissing      = "missing-option"   // that another word needs
	RuleConfig       = "configuration"    // needs a CONFIG_ symbol
	RuleLabel        = "label"            // needs a security module, or a label in its policy
	RuleNewline      = "newline"          // the last line needs one, and none may be CR LF
	RuleByte         = "byte"             // a NUL
	RuleEmpty        = "no-rules"         // a policy without rules
	RuleLength       = "line-length"      // too long to be written line by line
	RuleIgnored      = "ignored"          // accepted without effect
	RuleDeprecated   = "deprecated"       // accepted without need
	RuleKernel       = "kernel"           // a release that is not modelled
	RuleUnread       = "value-not-judged" // accepted if the device knows it
)

// Which rules contradict each other.
const (
	RuleShadowed    = "shadowed"       // earlier rules decide everything that it matches
	RuleUnreachable = "unreachable"    // matches nothing
	RuleFirstMatch  = "first-match"    // an earlier rule decides a part of what it matches
	RuleVerityMixed = "verity-mixed"   // options of one rule are added to another's
	RuleTooMany     = "too-many-rules" // to be judged
	RuleSecondAlgos = "setxattr-twice"
)

// What is risky.
const (
	RuleEventLog      = "event-log"      // users can fill the kernel's memory with measurements
	RuleDigest        = "digest"         // appraises a digest that whoever writes the file can write
	RulePolicyCheck   = "policy-check"   // policies without a signature can be loaded
	RulePseudo        = "pseudo-fs"      // appraises or measures proc, sysfs and the like
	RuleDropsXattr    = "drops-xattr"    // chmod and chown remove security.ima
	RuleUnwritable    = "unwritable"     // signed files cannot be opened for writing
	RuleFreeze        = "freeze"         // appraises files that a running system makes
	RuleAuditMissing  = "no-audit"       // measures without a word in the audit log
	RulePCR           = "pcr"            // extends what disk keys are sealed to
	RuleLibraries     = "libraries"      // programs are appraised, what they map is not
	RuleScripts       = "scripts"        // mapped code is appraised, scripts are not
	RuleUsers         = "users"          // other users than root are not covered
	RuleExempt        = "exempt-code"    // programs on a file system run without appraisal
	RuleDirectIO      = "direct-io"      // O_DIRECT goes around appraisal
	RuleModuleLoading = "module-loading" // init_module is refused
	RuleKexec         = "kexec-load"     // kexec_load is refused
	RuleFirmware      = "firmware-sysfs" // loading by sysfs is refused
	RuleAppraisalOff  = "appraisal-off"  // the kernel cannot appraise
	RuleOneLoad       = "one-load"       // the kernel takes one policy
	RuleRequired      = "required"       // the kernel's build has rules of its own
)
