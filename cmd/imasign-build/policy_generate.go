package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

type policyGenerateOptions struct {
	profile, output string
	sign            bool
	restoreFile     string
	kernel          kernelFlags
	key             keyFlags
	engine          engineFlags
}

func newPolicyGenerate(a *app) *cobra.Command {
	var o policyGenerateOptions
	var list strings.Builder
	var profiles []option
	for _, p := range policy.Profiles() {
		fmt.Fprintf(&list, "  %-7s  %s\n", p.Name, p.Summary)
		profiles = append(profiles, option{word: p.Name})
	}
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Write an IMA policy for a common case, with comments on each rule",
		Long: `Generate writes a policy with one of these profiles:

` + list.String() + `
Rules for signatures say appraise_type=imasig, which accepts version 2 and version 3.
--signature v3 makes them say sigv3, which accepts only version 3. It needs --kernel with 7.1
or later, because older kernels refuse the policy. With --kernel, generate checks the policy
for that kernel, as "policy check" does.

--sign signs the file, as "rootfs sign" does. If the active policy has a rule for
func=POLICY_CHECK, the kernel accepts only signed policies. If security.ima cannot be set
here, --restore-file writes the signature to a file for "setfattr --restore" instead.`,
		Example: `  imasign-build policy generate --profile strict
  imasign-build policy generate -o rootfs/etc/ima/ima_policy --sign \
      --key x509_ima.key --cert x509_ima.crt
  imasign-build policy generate --signature v3 --kernel 7.2`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.sign {
				if err := idle(cmd.Flags(), "--sign", "restore-file", "key", "cert", "key-pass", "key-for", "hash"); err != nil {
					return err
				}
			}
			return runPolicyGenerate(cmd.Context(), a, o)
		},
	}
	flags := cmd.Flags()
	choiceVar(flags, &o.profile, "profile", "default", "which policy to write", profiles)
	flags.StringVarP(&o.output, "output", "o", "-", "write the policy to `OUT`, or to standard output with -")
	flags.BoolVar(&o.sign, "sign", false, "sign the file")
	flags.StringVar(&o.restoreFile, "restore-file", "", "write the signature to `FILE` for setfattr --restore, not to security.ima")
	choiceVar(flags, &o.engine.form, "signature", "", "version of the signatures that the rules demand, and of --sign", []option{
		{"v2", "rules accept v3, too"}, {"v3", "for Linux 7.1 and later"},
	})
	annotate(flags, "signature", noteDefault, "v2; --sign makes what the key is for")
	o.kernel.add(flags)
	annotate(flags, "kernel", noteDefault, "no check")
	o.key.add(flags)
	purposeVar(flags, &o.key.purpose)
	o.engine.addHash(flags)
	once(flags, "output", "restore-file", "signature")
	return cmd
}

func (o *policyGenerateOptions) check(a *app) error {
	o.key.fromEnvironment(a)
	switch {
	case o.output == "-" && a.json:
		return usagef("--json and the policy would both go to standard output: write the policy to a file with -o OUT")
	case o.engine.form == "v3" && o.kernel.version == "":
		return usagef("--signature v3: kernels before 7.1 refuse the policy: name the device's kernel with --kernel VERSION")
	case o.kernel.version == "" && o.kernel.config != "":
		return usagef("--kernel-config works only with --kernel")
	case !o.sign:
		return nil
	case o.output == "-":
		return usagef("--sign needs a file to sign: -o OUT")
	case o.key.key == "":
		return usagef("no key was given: --key URI")
	}
	return nil
}

func runPolicyGenerate(ctx context.Context, a *app, o policyGenerateOptions) error {
	if err := o.check(a); err != nil {
		return err
	}
	text, err := o.text(ctx)
	if err != nil {
		return err
	}
	if o.output == "-" {
		return a.printFile(text)
	}
	r := &report.Policy{Head: report.Head{Command: "policy generate"}, Path: report.PathOf(o.output), Profile: o.profile}
	if p, err := policy.Parse(text); err == nil {
		rules, _ := policy.Target{}.Rules(p)
		r.Rules = len(rules)
	}
	if !o.sign {
		err = atomicfile.WriteFile(o.output, text, 0o644)
	} else {
		r.Signed = 1
		r.KeyID, err = o.signed(ctx, a, text)
	}
	if err != nil {
		return err
	}
	return a.print(r, nil)
}

// text returns the policy. If a kernel was named, that kernel must accept it.
func (o *policyGenerateOptions) text(ctx context.Context) ([]byte, error) {
	signed := policy.IMASig
	if o.engine.form == "v3" {
		signed = policy.SigV3
	}
	text, err := policy.Generate(o.profile, signed)
	switch {
	case errors.Is(err, policy.ErrNoSignatures):
		return nil, usageError{fmt.Errorf("--signature v3: %w", err)}
	case err != nil:
		return nil, usageError{fmt.Errorf("--profile: %w", err)}
	case o.kernel.version == "":
		return text, nil
	}
	k, err := o.kernel.kernel(ctx)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, err
	}
	var reasons []string
	for _, f := range finding.Group(policy.Check(p, policy.Target{Profile: k})) {
		if f.Severity == finding.Refuse || f.Severity == finding.Error {
			reasons = append(reasons, fmt.Sprintf("line %d: %s: %s", f.Line, f.Rule, f.Detail))
		}
	}
	if len(reasons) > 0 {
		return nil, quote.Below(fmt.Errorf("profile %s is not for Linux %s: nothing was written", o.profile, k.Version), reasons...)
	}
	return text, nil
}

// signed writes the policy and its signature. It makes the signature first, so that a wrong
// key changes nothing.
func (o *policyGenerateOptions) signed(ctx context.Context, a *app, text []byte) (keyID string, err error) {
	key, err := o.key.open(ctx, a)
	if err != nil {
		return "", err
	}
	defer key.Close() //nolint:errcheck // nothing is left to be lost
	engine, err := o.engine.engine(key, nil, signing.Observer{})
	if err != nil {
		return "", err
	}
	warnings, err := newKernelWarnings(ctx, a, &o.kernel)
	if err != nil {
		return "", err
	}
	warnings.of(o.engine.signature(ima.XattrIMA, key.Public), key.Public, o.engine.hash)
	dir, name := filepath.Split(o.output)
	plan, err := engine.Plan(ctx, content{name, text})
	if err != nil {
		return "", err
	}
	defer plan.Close() //nolint:errcheck // its file has no name
	keyID = key.Public.ID().String()
	if o.restoreFile == "" {
		return keyID, o.attach(plan, filepath.Join(dir, "."), name, text)
	}
	restore, err := a.createLate(o.restoreFile)
	if err != nil {
		return "", err
	}
	defer restore.Abort()
	if err := rootfs.WriteRestore(restore, plan); err != nil {
		return "", err
	}
	if err := atomicfile.WriteFile(o.output, text, 0o644); err != nil {
		return "", err
	}
	return keyID, restore.Commit()
}

// attach writes the file and sets its security.ima. It uses package tree, which calls the C
// library under pseudo or fakeroot.
func (o *policyGenerateOptions) attach(plan *signing.Plan, dir, name string, text []byte) error {
	t, err := tree.Open(dir, tree.Options{CrossMounts: true})
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // opened for reading
	if err := t.ProbeXattr(t.Root(), ".", ima.XattrIMA, []byte{byte(ima.TypeSignature)}); err != nil {
		return errors.Join(fmt.Errorf("sign %s: %w: where security.ima cannot be set, --restore-file writes the signature to a file", o.output, err), errors.New("nothing was written"))
	}
	var value []byte
	for r, err := range plan.Records() {
		if err != nil {
			return err
		}
		value = r.Final(ima.XattrIMA)
	}
	if err := atomicfile.WriteFile(o.output, text, 0o644); err != nil {
		return err
	}
	if err := set(t, name, value); err != nil {
		return fmt.Errorf("%s was written, but is not signed: %w", o.output, err)
	}
	return nil
}

func set(t *tree.Tree, name string, value []byte) error {
	f, err := t.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	stamp, err := tree.StampOf(f)
	if err != nil {
		return err
	}
	_, _, err = t.ChangeXattrs(name, stamp, tree.XattrChange{Name: ima.XattrIMA, New: value})
	return err
}

// content is a file in memory that is signed.
type content struct {
	name string
	text []byte
}

// Entries yields the one file.
func (c content) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		yield(signing.Entry{Path: c.name, Mode: 0o644, Size: int64(len(c.text)), Open: func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(bytes.NewReader(c.text))}, nil
		}}, nil)
	}
}
