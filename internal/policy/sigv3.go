package policy

import (
	"slices"

	"github.com/imasign/imasign-build/internal/finding"
)

// This file has the findings about signatures of version 3: rules with appraise_type=sigv3,
// without fs-verity, which Linux has since 7.1.

// onContent reports whether a rule demands a signature of version 3 of the file's content.
func (r *Rule) onContent() bool { return r.Action == Appraise && r.AppraiseType.V3() && !r.Verity }

// stays finds a rule that accepts version 2 of files at which the kernel may have looked for
// another rule that demands version 3. process_measurement adds the options of a rule to the
// inode's flags, and they stay there until the inode's attributes change or it leaves memory.
func stays(rule *Rule, rules []*Rule) []finding.Finding {
	if rule.Action != Appraise || rule.AppraiseType == AnyValue || rule.AppraiseType.V3() || rule.Verity {
		return nil
	}
	i := slices.IndexFunc(rules, func(o *Rule) bool { return o.onContent() && o.meetsFile(rule) && o.looksAtSame(rule) })
	if i < 0 {
		return nil
	}
	return []finding.Finding{newFinding(RuleSigV3Stays, finding.Note, rule.Line, 0,
		"line %d demands version 3 of files that this rule may match too, and the kernel keeps that demand with a file while it is in memory: a version 2 signature that passes here first is refused here later (IMA-sigv3-required)", rules[i].Line)}
}

// looksAtSame reports whether the kernel searches for both rules when it uses one file: any file
// can be opened, programs are also mapped, and the other funcs have their own kinds of files.
func (r *Rule) looksAtSame(o *Rule) bool {
	opened, run := asks(FileCheck), byFile()
	hook := func(r *Rule) moments { // of all accesses for the same func
		return momentsOf(func(m moment) bool { return r.CanMatch(m.hook) })
	}
	a, b := hook(r), hook(o)
	return a&b != 0 || (a|b)&opened != 0 || a&run != 0 && b&run != 0
}

// versionThree reports what rules with sigv3 need of the kernel.
func (j *judge) versionThree() {
	i := slices.IndexFunc(j.rules, (*Rule).onContent)
	if i < 0 {
		return
	}
	c := j.target.Config
	if c == nil || c.Builtin("CONFIG_EVM") {
		j.add(j.rules[i], RuleSigV3EVM, finding.Note, "where EVM is enabled, a file with a digest in security.ima and a portable EVM signature of version 2 passes too, unless EVM demands version 3: add 8 to the value that is written to /sys/kernel/security/evm")
	}
	const symbol = "CONFIG_CRYPTO_MLDSA"
	switch {
	case j.target.Version.Before(7, 2):
		j.add(j.rules[i], RuleMLDSA, finding.Note, "signatures by ML-DSA keys are refused: they need Linux 7.2 with %s", symbol)
	case c != nil && c.Value(symbol) == "":
		j.add(j.rules[i], RuleMLDSA, finding.Note, "signatures by ML-DSA keys are refused: the kernel is built without %s", symbol)
	}
}

// firstSigned returns the first rule that demands a signature in security.ima, or nil.
func (j *judge) firstSigned() *Rule {
	i := slices.IndexFunc(j.rules, func(r *Rule) bool { return r.Action == Appraise && r.AppraiseType != AnyValue })
	if i < 0 {
		return nil
	}
	return j.rules[i]
}
