package policy

import (
	"bytes"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// maxRules is the maximum number of rules that are checked for contradictions and risks. The
// largest policies in use have some hundred rules.
const maxRules = 1000

// Check returns the findings about a policy in the order of the file: lines that the kernel
// refuses, rules that contradict each other, and risks. The kernel stops at the first line
// that it refuses, but Check continues to the end. It checks the accepted lines for
// contradictions and risks.
func Check(p *Policy, t Target) []finding.Finding {
	rules, findings := t.Rules(p)
	findings = append(findings, t.file(p)...)
	findings = append(findings, t.signedOnly()...)
	findings = append(findings, unknownRelease(t)...)
	if len(rules) > maxRules { // each rule is compared with each other rule
		findings = append(findings, newFinding(RuleTooMany, finding.Warn, rules[maxRules].Line, 0,
			"more than %d rules: from here on, rules are not checked for contradictions and risks", maxRules))
		rules = rules[:maxRules]
	}
	findings = append(findings, contradictions(rules)...)
	findings = append(findings, risks(rules, t)...)
	finding.Sort(findings)
	return findings
}

// Rules returns the rules of the lines that the kernel accepts, and the findings about single
// lines. If the kernel is newer than the known ones, lines that it may accept have findings,
// but no rule.
func (t Target) Rules(p *Policy) ([]*Rule, []finding.Finding) {
	var rules []*Rule
	var findings []finding.Finding
	for i := range p.Lines {
		line := &p.Lines[i]
		if len(line.Words) == 0 {
			continue
		}
		rule, more := t.compile(line)
		if rule != nil {
			rules = append(rules, rule)
		}
		findings = append(findings, more...)
	}
	return rules, findings
}

// file checks what is not about single rules, after ima_read_policy and ima_write_policy.
func (t Target) file(p *Policy) []finding.Finding {
	var findings []finding.Finding
	if !slices.ContainsFunc(p.Lines, func(l Line) bool { return len(l.Words) > 0 }) {
		findings = append(findings, newFinding(RuleEmpty, finding.Refuse, 0, 0, "no rules: the kernel drops the update"))
	}
	for i, line := range p.Lines {
		last := i == len(p.Lines)-1
		// A NUL as the last byte of the file ends it as a newline does.
		nul := strings.IndexByte(line.Text, 0)
		ended := last && nul >= 0 && nul == len(line.Text)-1 && line.End == ""
		switch {
		case nul >= 0 && !ended:
			findings = append(findings, newFinding(RuleByte, finding.Refuse, line.Number, nul+1, "a NUL byte: the kernel stops reading here and refuses the file"))
		case last && line.End == "" && !ended && !t.Early:
			findings = append(findings, newFinding(RuleNewline, finding.Refuse, line.Number, len(line.Text)+1,
				"no newline at the end of the file: the kernel refuses the policy when it is loaded by its path"))
		}
		findings = append(findings, t.length(line.Number, line.Text)...)
	}
	return findings
}

// unknownRelease reports if the rules for a release are not known exactly.
func unknownRelease(t Target) []finding.Finding {
	v := t.Version
	switch {
	case v.Major == 0:
	case v.Older(kernel.Oldest()):
		return []finding.Finding{newFinding(RuleKernel, finding.Note, 0, 0, "Linux %s is checked by the rules of %s, and by the release that introduced each word; releases before 5.9 accept combinations that are refused here", v, kernel.Oldest())}
	case kernel.Newest().Older(v):
		return []finding.Finding{newFinding(RuleKernel, finding.Note, 0, 0, "Linux %s is checked by the rules of %s, the newest that this program knows; what those refuse is a warning if a later kernel may accept it", v, kernel.Newest())}
	}
	return nil
}

// Format returns the text of a policy file with these rules.
func Format(rules []*Rule) []byte {
	var b bytes.Buffer
	for _, r := range rules {
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}
