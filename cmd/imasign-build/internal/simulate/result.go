package simulate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/policy"
)

// tally counts by rule.
func (r *Result) tally(rules []*policy.Rule, subjects []*subject) {
	at := map[*policy.Rule]int{}
	for _, rule := range rules {
		if rule.Action == policy.Appraise && rule.Func != policy.SetxattrCheck {
			at[rule] = len(r.Rules)
			r.Rules = append(r.Rules, Tally{Rule: rule})
		}
	}
	for _, sub := range subjects {
		for _, v := range sub.verdicts {
			t := &r.Rules[at[v.rule]]
			switch {
			case v.refusal.passes():
				t.Passed++
			case v.certain:
				t.Refused++
			default:
				t.Possible++
			}
		}
	}
}

// refusals lists the files that are refused, each with a program that needs it.
func (r *Result) refusals(subjects []*subject, l *linker) {
	boot := l.boot()
	for _, sub := range subjects {
		for _, v := range sub.verdicts {
			if v.refusal.passes() {
				continue
			}
			_, early := boot[sub]
			early = early && v.rule.CanMatch(policy.BprmCheck, policy.MmapCheck, policy.MmapCheckReqProt, policy.CredsCheck)
			r.Refused = append(r.Refused, Refusal{
				Path: sub.node.Path, Func: v.hook, Line: v.rule.Line, Reason: v.refusal.String(), Cause: v.refusal.cause, Certain: v.certain, Boot: early, NeededBy: l.neededBy[sub],
			})
		}
	}
	slices.SortStableFunc(r.Refused, func(a, b Refusal) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
}

// unknown says what was not judged, and why not.
func (r *Result) unknown(s *simulation, l *linker) {
	say := func(format string, args ...any) { r.Unknown = append(r.Unknown, fmt.Sprintf(format, args...)) }
	r.Unknown = append(r.Unknown, s.conditions()...)
	evm, appended := 0, 0
	for _, sub := range s.subjects {
		if sub.evm {
			evm++
		}
		if sub.kind.modsig && slices.ContainsFunc(sub.verdicts, func(v verdict) bool { return v.rule.AppraiseType.Modsig() }) {
			appended++
		}
	}
	if appended > 0 {
		say("the appended signatures of %d modules or kernels are not checked", appended)
	}
	for _, what := range s.assumed {
		say("%s, as is assumed here", what)
	}
	if evm > 0 && s.EVM == nil {
		say("security.evm of %d files is not checked: where EVM is enabled, it can refuse them as well", evm)
	}
	if s.mounts > 0 {
		say("%d mount points in the tree were not entered", s.mounts)
	}
	for _, name := range l.missing() {
		say("%s is not in the tree", name)
	}
	r.Limits = append(s.limits(), "files that the device makes itself, other file systems, what programs load by dlopen, and which programs are run, are not known here")
}

// unknownFS reports whether the rule depends on a type of file system that is not known.
func (s *simulation) unknownFS(rule *policy.Rule) bool {
	maybe := func(name string) bool { return rule.OnFileSystem(name) == policy.Maybe }
	if s.FSName != "" || len(s.subjects) == 0 {
		return maybe(s.FSName)
	}
	return slices.ContainsFunc(s.subjects, func(sub *subject) bool { return maybe(sub.node.FSName) })
}

// conditions names rules that depend on more than a tree shows.
func (s *simulation) conditions() []string {
	var list []string
	for _, rule := range s.rules {
		if rule.Action.Class() != policy.Appraise {
			continue
		}
		var on []string
		if !rule.MatchesRoot() {
			on = append(on, "processes that are not root's: it was not tried")
		}
		if len(rule.Labels) > 0 {
			on = append(on, "labels of a security module")
		}
		if rule.FSUUID != nil {
			on = append(on, "the UUID of a file system")
		}
		if s.unknownFS(rule) {
			on = append(on, "the kind of file system, which --fs would tell")
		}
		if on != nil {
			list = append(list, "the rule of line "+strconv.Itoa(rule.Line)+" depends on "+strings.Join(on, ", "))
		}
	}
	return list
}
