package policy

import (
	"bytes"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// maxRules is up to how many rules contradictions and risks are judged. The largest
// policies in use have some hundred.
const maxRules = 1000

// Check returns what a kernel refuses of a policy, what contradicts itself, and what
// is risky, in the order of the file. The kernel refuses a file at the first line
// that it does not take; Check goes on to the last. Contradictions and risks are
// judged over the lines that are taken.
func Check(p *Policy, t Target) []finding.Finding {
	rules, findings := t.Rules(p)
	findings = append(findings, t.file(p, len(rules) > 0 || finding.Refused(findings))...)
	findings = append(findings, t.signedOnly()...)
	findings = append(findings, release(t)...)
	if len(rules) > maxRules { // each is held against each
		findings = append(findings, newFinding(RuleTooMany, finding.Warn, rules[maxRules].Line, 0,
			"more than %d rules: contradictions and risks are not judged from here on", maxRules))
		rules = rules[:maxRules]
	}
	findings = append(findings, contradictions(rules)...)
	findings = append(findings, risks(rules, t)...)
	finding.Sort(findings)
	return findings
}

// Rules returns the rules of the lines that the kernel takes, and what is to say
// about single lines.
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

// file judges what is not one rule's: ima_read_policy and ima_write_policy.
func (t Target) file(p *Policy, rules bool) []finding.Finding {
	var findings []finding.Finding
	if !rules {
		findings = append(findings, newFinding(RuleEmpty, finding.Refuse, 0, 0, "no rules: the kernel drops the update"))
	}
	for i, line := range p.Lines {
		last := i == len(p.Lines)-1
		// A NUL as the very last byte ends the file as a newline would.
		nul := strings.IndexByte(line.Text, 0)
		ended := last && nul >= 0 && nul == len(line.Text)-1 && line.End == ""
		switch {
		case nul >= 0 && !ended:
			findings = append(findings, newFinding(RuleByte, finding.Refuse, line.Number, nul+1, "a NUL byte: the kernel reads no further and refuses the file"))
		case last && line.End == "" && !ended && !t.Early:
			findings = append(findings, newFinding(RuleNewline, finding.Refuse, line.Number, len(line.Text)+1,
				"no newline at the end of the file: the kernel refuses the policy when it is loaded by its path"))
		}
		findings = append(findings, t.length(line.Number, line.Text)...)
	}
	return findings
}

// release says how far the verdict can be trusted for a release.
func release(t Target) []finding.Finding {
	v := t.Version
	switch {
	case v.Major == 0:
	case v.Older(kernel.Oldest()):
		return []finding.Finding{newFinding(RuleKernel, finding.Note, 0, 0, "Linux %s is judged by the rules of %s, and by when each word was introduced; releases before 5.9 take combinations that are refused here", v, kernel.Oldest())}
	case kernel.Newest().Older(v):
		return []finding.Finding{newFinding(RuleKernel, finding.Note, 0, 0, "Linux %s is judged by the rules of %s, the newest that are known here", v, kernel.Newest())}
	}
	return nil
}

// Format returns rules as a policy file.
func Format(rules []*Rule) []byte {
	var b bytes.Buffer
	for _, r := range rules {
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}
