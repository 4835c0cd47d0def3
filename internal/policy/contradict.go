package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// contradictions judges rules against the ones before them. The kernel takes, for
// each class of actions, the first rule that matches.
func contradictions(rules []*Rule) []finding.Finding {
	var findings []finding.Finding
	setxattr := 0
	at := make([]moments, len(rules))
	for i, rule := range rules {
		at[i] = rule.moments()
		switch when := at[i]; {
		case rule.Func == SetxattrCheck && setxattr > 0:
			findings = append(findings, newFinding(RuleSecondAlgos, finding.Error, rule.Line, 0,
				"the kernel keeps the first SETXATTR_CHECK rule, of line %d, and ignores this one", setxattr))
		case rule.Func == SetxattrCheck:
			setxattr = rule.Line
		case when == 0:
			findings = append(findings, newFinding(RuleUnreachable, finding.Error, rule.Line, 0, "matches nothing: %s", unreachable(rule)))
		default:
			findings = append(findings, against(rule, when, rules[:i], at)...)
			findings = append(findings, mixed(rule, when, rules)...)
		}
	}
	return findings
}

func unreachable(r *Rule) string {
	if !r.someoneMatches() {
		return "no id is below 0, or above 4294967294"
	}
	switch r.Func {
	case FileCheck:
		return "no file is opened with MAY_APPEND alone; mask=^MAY_APPEND is meant"
	case MmapCheck, MmapCheckReqProt, BprmCheck, CredsCheck:
		return fmt.Sprintf("%s is asked with MAY_EXEC alone", r.Func)
	case AnyFunc:
		return "nothing is asked with MAY_APPEND alone; mask=^MAY_APPEND is meant"
	}
	return fmt.Sprintf("%s is asked with MAY_READ alone", r.Func)
}

// against holds a rule that matches at some moments against those before it, and
// theirs.
func against(rule *Rule, when moments, earlier []*Rule, at []moments) []finding.Finding {
	left := when
	var by []*Rule
	for i, e := range earlier {
		if left&at[i] == 0 || e.Action.Class() != rule.Action.Class() || !e.covers(rule) {
			continue
		}
		left &^= at[i]
		by = append(by, e)
		if left == 0 {
			return []finding.Finding{shadow(rule, by)}
		}
	}
	for i, e := range earlier {
		if when&at[i] == 0 || e.Action.Class() != rule.Action.Class() || !e.meets(rule) {
			continue
		}
		switch {
		case e.weaker(rule):
			return []finding.Finding{newFinding(RuleFirstMatch, finding.Error, rule.Line, 0,
				"line %d comes first and takes a digest: what matches both rules needs no signature; put the stricter rule before it", e.Line)}
		case e.Action.does() && !rule.Action.does():
			return []finding.Finding{newFinding(RuleFirstMatch, finding.Warn, rule.Line, 0,
				"line %d comes first: what matches both rules is not excepted; exceptions stand before the rule they are from", e.Line)}
		}
	}
	return nil
}

func shadow(rule *Rule, by []*Rule) finding.Finding {
	lines := make([]string, len(by))
	same := true
	for i, e := range by {
		lines[i] = strconv.Itoa(e.Line)
		same = same && e.demandsAs(rule)
	}
	where := "line " + strings.Join(lines, " and ")
	if len(by) > 1 {
		where = "lines " + strings.Join(lines, ", ")
	}
	severity, format := finding.Error, "is never reached: %s decides first about everything that it matches"
	if same {
		severity, format = finding.Warn, "does what %s did already"
	}
	f := newFinding(RuleShadowed, severity, rule.Line, 0, format, where)
	f.Alike = format // whichever lines they are
	return f
}

// mixed finds rules whose fs-verity option lands on an appraise rule that wants
// a signature over the content: process_measurement adds up the options of all rules
// that match a file.
func mixed(rule *Rule, when moments, rules []*Rule) []finding.Finding {
	if rule.Action != Appraise || rule.Verity || rule.AppraiseType == AnyValue {
		return nil
	}
	i := slices.IndexFunc(rules, func(o *Rule) bool {
		return o.Verity && o.Action.Class() != Appraise && o.moments()&when != 0 && o.meets(rule)
	})
	if i < 0 {
		return nil
	}
	return []finding.Finding{newFinding(RuleVerityMixed, finding.Error, rule.Line, 0,
		"line %d has digest_type=verity for the same files, and the kernel adds up the options of all rules that match: it then refuses their %s signatures (verity-signature-required)",
		rules[i].Line, rule.AppraiseType)}
}
