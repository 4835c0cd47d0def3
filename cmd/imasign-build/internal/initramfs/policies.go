package initramfs

import (
	"fmt"

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
	text, err := policy.Generate("default")
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

// policy judges one as `policy check --initramfs` does. Warnings about the default one
// are known.
func (b *builder) policy(name string, in Input) error {
	if keyscan.Holds(in.Data) { // it is named before its lines are taken for rules
		return fmt.Errorf("%s: %w", in.Name, ErrPrivateKey)
	}
	p, err := policy.Parse(in.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	var reasons []string
	why := ErrUseless
	kernel := policy.Kernel{Version: b.options.Kernel, Config: b.options.Config, Early: true, Labels: b.options.LabelsKnown}
	for _, f := range policy.Group(policy.Check(p, kernel)) {
		if f.Severity == policy.Refuse || f.Severity == policy.Error {
			if reasons = append(reasons, reason(f)); f.Severity == policy.Refuse {
				why = ErrRefused
			}
		} else if name == customPolicy {
			b.findings = append(b.findings, Finding{File: in.Name, Line: f.Line, Lines: f.Lines, Severity: string(f.Severity), Rule: f.Rule, Detail: f.Detail})
		}
	}
	if len(reasons) > 0 {
		return quote.Below(fmt.Errorf("%s: %w", in.Name, why), reasons...)
	}
	return b.add(b.prefix+"etc/ima/"+name, 0o644, in.Data, in.Name)
}

func reason(f policy.Finding) string {
	text := f.Rule + ": " + f.Detail
	if f.Line > 0 {
		text = fmt.Sprintf("line %d: %s", f.Line, text)
	}
	if also := f.Also(); also != "" {
		text += " (" + also + ")"
	}
	return text
}
