package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a finding costs.
type Severity string

// The severities.
const (
	Refuse Severity = "refuse" // the kernel refuses the line, and with it the whole file
	Error  Severity = "error"  // the policy loads and does not do what it is for, or keeps the device from booting
	Warn   Severity = "warn"   // likely not what is wanted, or depends on what was not given
	Note   Severity = "note"   // worth knowing
)

// Finding is something about a policy, at a place in the file.
type Finding struct {
	Rule     string   `json:"rule"` // stable, one of the Rule constants
	Severity Severity `json:"severity"`
	Line     int      `json:"line"`   // from 1; 0 for the file as a whole
	Column   int      `json:"column"` // in bytes, from 1; 0 for the line as a whole
	Detail   string   `json:"detail"`
	// Lines are all lines that have the finding, where [Group] made one of several;
	// Line, Column and Detail are the first one's.
	Lines []int `json:"lines,omitempty"`

	alike string // Detail without what the line itself says
}

// newFinding makes a finding. Numbers of other lines do not make it another one.
func newFinding(rule string, severity Severity, line, column int, format string, args ...any) Finding {
	return Finding{
		Rule: rule, Severity: severity, Line: line, Column: column,
		Detail: fmt.Sprintf(format, args...), alike: impersonal("", format, args),
	}
}

// impersonal fills in a sentence without numbers, and without what it quotes of a word.
func impersonal(word, format string, args []any) string {
	masked := slices.Clone(args)
	for i, arg := range args {
		switch v := arg.(type) {
		case int, uint64:
			masked[i] = "N"
		case string:
			if word != "" && v != "" && strings.HasSuffix(word, v) {
				masked[i] = "WORD"
			}
		}
	}
	return fmt.Sprintf(format, masked...)
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

// Wrong reports whether a finding is a refusal or an error.
func Wrong(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Refuse || f.Severity == Error })
}

// Refused reports whether a finding is a refusal.
func Refused(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Refuse })
}

// sort orders findings by their place, the file's own last.
func sortFindings(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
