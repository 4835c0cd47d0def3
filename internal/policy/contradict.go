package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// contradictions compares each rule with the rules before it. For each class of actions, the
// kernel uses the first rule that matches.
func contradictions(rules []*Rule) []finding.Finding {
	var findings []finding.Finding
	setxattr := 0
	at := make([]moments, len(rules))
	for i, rule := range rules {
		at[i] = rule.moments()
		switch when := at[i]; {
		case rule.Func == SetxattrCheck && setxattr > 0:
			findings = append(findings, newFinding(RuleSecondAlgos, finding.Error, rule.Line, 0,
				"the kernel keeps the first SETXATTR_CHECK rule, in line %d, and ignores this one", setxattr))
		case rule.Func == SetxattrCheck:
			setxattr = rule.Line
		case when == 0:
			findings = append(findings, newFinding(RuleUnreachable, finding.Error, rule.Line, 0, "matches nothing: %s", unreachable(rule)))
		default:
			findings = append(findings, against(rule, when, rules[:i], at)...)
			findings = append(findings, mixed(rule, when, rules)...)
			findings = append(findings, stays(rule, rules)...)
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
		return "no file is opened with only MAY_APPEND: use mask=^MAY_APPEND"
	case MmapCheck, MmapCheckReqProt, BprmCheck, CredsCheck:
		return fmt.Sprintf("the mask of %s is always MAY_EXEC", r.Func)
	case AnyFunc:
		return "no access has only MAY_APPEND: use mask=^MAY_APPEND"
	}
	return fmt.Sprintf("the mask of %s is always MAY_READ", r.Func)
}

// against compares a rule with the rules before it. when are the rule's moments, and at those
// of all rules.
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
				"line %d comes first and accepts a digest, so files that match both rules need no signature: put the stricter rule before it", e.Line)}
		case e.Action.does() && !rule.Action.does():
			return []finding.Finding{newFinding(RuleFirstMatch, finding.Warn, rule.Line, 0,
				"line %d comes first, so files that match both rules are not exempt: put the exception before it", e.Line)}
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
		severity, format = finding.Warn, "has no effect: it does the same as %s"
	}
	f := newFinding(RuleShadowed, severity, rule.Line, 0, format, where)
	f.Alike = format // the same for any lines
	return f
}

// mixed finds rules whose fs-verity option also applies to an appraise rule that needs a
// signature over the content. process_measurement combines the options of all rules that
// match a file.
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
		"line %d has digest_type=verity for the same files, and the kernel combines the options of all rules that match: it then refuses their %s signatures (verity-signature-required)",
		rules[i].Line, rule.AppraiseType)}
}
