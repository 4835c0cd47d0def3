package initramfs

import (
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/policy"
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

// policy judges one as `policy check` does. Warnings about the default one are known.
func (b *builder) policy(name string, in Input) error {
	if file.HoldsPrivateKey(in.Data) { // it is named before its lines are taken for rules
		return fmt.Errorf("%s: %w", in.Name, ErrPrivateKey)
	}
	p, err := policy.Parse(in.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	var reasons []string
	for _, f := range policy.Check(p, policy.Kernel{Version: b.options.Kernel}) {
		if f.Severity == policy.Refuse || f.Severity == policy.Error {
			reasons = append(reasons, fmt.Sprintf("line %d: %s: %s", f.Line, f.Rule, f.Detail))
		} else if name == customPolicy {
			b.findings = append(b.findings, Finding{in.Name, f.Line, string(f.Severity), f.Rule, f.Detail})
		}
	}
	if len(reasons) > 0 {
		return refused(in.Name, reasons)
	}
	return b.add(b.prefix+"etc/ima/"+name, 0o644, in.Data, in.Name)
}
