package initramfs

import (
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
)

// Names of the policies in /etc/ima: the hook loads the first that exists.
const (
	customPolicy  = "ima_policy"
	defaultPolicy = "ima_policy.default"
)

func (b *builder) policies() error {
	text, err := policy.Generate("default", policy.IMASig)
	if err != nil {
		return err
	}
	if err := b.policy(defaultPolicy, Input{"the default policy", text}); err != nil {
		return err
	}
	if b.options.Policy == nil {
		return nil
	}
	return b.policy(customPolicy, *b.options.Policy)
}

// policy checks a policy like `policy check --initramfs`, and adds it. Warnings about the
// default policy are not reported.
func (b *builder) policy(name string, in Input) error {
	if keyscan.Holds(in.Data) { // reported before its lines are parsed as rules
		return fmt.Errorf("%s: %w", in.Name, ErrPrivateKey)
	}
	p, err := policy.Parse(in.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	var reasons []string
	why := ErrUseless
	target := policy.Target{Profile: b.options.Kernel, Early: true, Labels: b.options.LabelsKnown}
	for _, f := range finding.Group(policy.Check(p, target)) {
		if f.Severity == finding.Refuse || f.Severity == finding.Error {
			if reasons = append(reasons, reason(f)); f.Severity == finding.Refuse {
				why = ErrRefused
			}
		} else if name == customPolicy {
			b.note(in.Name, f)
		}
	}
	if len(reasons) > 0 {
		return quote.Below(fmt.Errorf("%s: %w", in.Name, why), reasons...)
	}
	rules, _ := target.Rules(p)
	b.version3 = b.version3 || slices.ContainsFunc(rules, func(r *policy.Rule) bool { return r.Action == policy.Appraise && r.AppraiseType.V3() })
	return b.add(b.prefix+"etc/ima/"+name, 0o644, in.Data, in.Name)
}

func reason(f finding.Finding) string {
	text := f.Rule + ": " + f.Detail
	if f.Line > 0 {
		text = fmt.Sprintf("line %d: %s", f.Line, text)
	}
	if also := f.Also(); also != "" {
		text += " (" + also + ")"
	}
	return text
}
