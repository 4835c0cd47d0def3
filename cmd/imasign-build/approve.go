package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

type approveOptions struct {
	key                keyFlags // the approver's
	forKey, form, hash string
	origin, notAfter   string
	days               int
	output, previous   string
	yes                bool
	made, until        time.Time
	kind               approval.Kind
	service            [sha256.Size]byte // SPKI of the service's key
}

// maxDays is how long an approval can last: one that lasts longer would be forgotten.
const maxDays = 3650

func newApprove(a *app) *cobra.Command {
	var o approveOptions
	cmd := &cobra.Command{
		Use:   "approve MANIFEST",
		Short: "Approve that a signing service signs the digests in a manifest",
		Long: `Approve signs a statement: a signing service may sign the digests in this manifest, with
this key, in this form, for this origin, until this day. Under a rule that requires approvals,
the service signs nothing else (docs/service.md).

A dry run without a key writes the manifest: --dry-run --manifest, with IMASIGN_KEY unset. With
a key, a dry run changes no file, but asks the key for signatures, which do not matter here.

Before it signs, approve shows how the manifest differs from the one that the same key last
approved for this origin, and asks. It ignores the approvals of others in OUT, which it cannot
judge. --previous names another manifest to compare with.

OUT gets two files, the manifest without signatures and the statement. Copy them to the
service, which needs no restart. To withdraw an approval, remove its file there.

The key must be the approver's own: not one that devices trust, nor one of the service or of a
requester.`,
		Example: `  imasign-build rootfs sign --dry-run --manifest m.jsonl rootfs/
  imasign-build approve --key alice.key --cert alice.crt --for-key x509_ima.crt \
      --form v2 --origin router --days 30 -o approvals m.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runApprove(cmd.Context(), a, &o, cmd.Flags(), args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

// approvalForms are the values of --form.
func approvalForms() []option {
	return []option{
		{"v2", "version 2 over the content"}, {"v3", "version 3 over the content"}, {"verity", "over fs-verity digests"},
		{"evm", "version 2 in security.evm"}, {"evm-v3", "version 3 in security.evm"},
	}
}

func approvalForm(word string) ima.Form {
	switch word {
	case "v3":
		return ima.ContentSignature().V3()
	case "verity":
		return ima.VeritySignature()
	case "evm":
		return ima.PortableSignature()
	case "evm-v3":
		return ima.PortableSignature().V3()
	}
	return ima.ContentSignature()
}

func (o *approveOptions) add(flags *pflag.FlagSet) {
	// No variables: IMASIGN_KEY names the key that signs files.
	flags.StringVar(&o.key.key, "key", "", "sign the approval with the key `URI` of the approver")
	flags.StringVar(&o.key.cert, "cert", "", "certificate of --key in `FILE`, PEM or DER")
	flags.StringVar(&o.key.pass, "key-pass", "", "read the passphrase or PIN of --key from `SOURCE`: env:NAME, file:PATH, fd:N or cred:NAME")
	annotate(flags, "key-pass", noteDefault, "ask on the terminal")
	flags.StringVar(&o.forKey, "for-key", "", "the service signs with the key whose certificate or public key is in `FILE`, PEM or DER")
	choiceVar(flags, &o.form, "form", "", "form of the signatures", approvalForms())
	c := choiceVar(flags, &o.hash, "hash", "", "digest algorithm of the signatures", words(signingHashes()...))
	c.accept = func(name string) error {
		_, err := parseHash(name)
		return err
	}
	annotate(flags, "hash", noteDefault, "that of the digests in the manifest")
	flags.StringVar(&o.origin, "origin", "", "the manifest is of `NAME`, which a rule of the service has as its origin")
	flags.IntVar(&o.days, "days", 30, "the approval lasts `N` days")
	flags.StringVar(&o.notAfter, "not-after", "", "the approval lasts until `TIME`: the end of a date in UTC, or a time in RFC 3339")
	flags.StringVar(&o.previous, "previous", "", "compare with the manifest in `FILE`")
	annotate(flags, "previous", noteDefault, "what the key approved last for this origin, in OUT")
	flags.BoolVarP(&o.yes, "yes", "y", false, "approve without being asked")
	flags.StringVarP(&o.output, "output", "o", "", "write the manifest and the approval to the directory `OUT`")
	once(flags, "key", "cert", "key-pass", "for-key", "form", "hash", "origin", "not-after", "previous", "output")
}

// check completes the flags.
func (o *approveOptions) check(a *app, flags *pflag.FlagSet) error {
	for _, f := range []struct{ name, value, metavar string }{
		{"key", o.key.key, "URI"}, {"for-key", o.forKey, "FILE"}, {"form", o.form, "FORM"}, {"origin", o.origin, "NAME"}, {"output", o.output, "OUT"},
	} {
		if f.value == "" {
			return usagef("--%s %s is needed", f.name, f.metavar)
		}
	}
	if quote.Text(o.origin) != o.origin || len(o.origin) > protocol.MaxName {
		return usagef("--origin %s: must be one line of at most %d printable bytes", o.origin, protocol.MaxName)
	}
	o.kind.Form = approvalForm(o.form)
	if o.hash != "" {
		hash, err := parseHash(o.hash)
		if err != nil {
			return usageError{fmt.Errorf("--hash %q: %w", o.hash, err)}
		}
		o.kind.Hash = hash
	}
	if !o.yes && !a.canAsk() {
		return usagef("there is no terminal to ask on: --yes approves without being asked")
	}
	if !o.yes && (a.json || a.quiet) {
		return usagef("--json and --quiet show nothing before they ask: --yes approves without being asked")
	}
	return o.checkTime(flags)
}

// checkTime finds out how long the approval lasts.
func (o *approveOptions) checkTime(flags *pflag.FlagSet) (err error) {
	o.made = time.Now()
	o.until = o.made.Add(time.Duration(o.days) * 24 * time.Hour)
	switch {
	case o.notAfter == "" && (o.days < 1 || o.days > maxDays):
		return usagef("--days %d: must be 1 to %d", o.days, maxDays)
	case o.notAfter == "":
		return nil
	case flags.Changed("days"):
		return usagef("--days and --not-after exclude each other")
	}
	if day, err := time.Parse(time.DateOnly, o.notAfter); err == nil {
		o.until = day.Add(24*time.Hour - time.Second)
	} else if o.until, err = time.Parse(time.RFC3339, o.notAfter); err != nil {
		return usagef("--not-after %s: must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z", o.notAfter)
	}
	switch {
	case !o.until.After(o.made):
		return usagef("--not-after %s: it is over", o.notAfter)
	case o.until.After(o.made.Add(maxDays * 24 * time.Hour)):
		return usagef("--not-after %s: must be within %d days", o.notAfter, maxDays)
	}
	return nil
}

func runApprove(ctx context.Context, a *app, o *approveOptions, flags *pflag.FlagSet, file string) error {
	guardMemory()
	if err := o.check(a, flags); err != nil {
		return err
	}
	if err := o.readForKey(ctx); err != nil {
		return err
	}
	p, err := o.readManifest(ctx, file)
	if err != nil {
		return err
	}
	defer p.close()
	key, err := o.key.open(ctx, a)
	if err != nil {
		return err
	}
	defer key.Close() //nolint:errcheck // nothing is left to be lost
	own, err := approval.SPKI(key.Public)
	if err != nil {
		return err
	}
	if own == o.service {
		return usagef("--key and --for-key are the same key: an approver needs a key of their own")
	}
	r := &report.Approval{
		Head: report.Head{Command: "approve"}, Manifest: fmt.Sprintf("%x", p.sum), Key: fmt.Sprintf("%x", o.service), Origin: o.origin,
		Form: o.form, Hash: o.kind.Hash.String(), NotAfter: o.until.UTC().Format(time.RFC3339), Covered: p.covered,
	}
	if err := o.compare(ctx, p, key.Public, r); err != nil {
		return err
	}
	if !o.yes {
		if err := a.print(r, nil); err != nil {
			return err
		}
		if err := a.confirm(ctx, "Approve this?"); err != nil {
			return err
		}
		r.Shown = true
	}
	if err := o.write(ctx, p, key, r); err != nil {
		return err
	}
	return a.print(r, nil)
}

// readForKey reads the key of the service. A certificate must be for the form.
func (o *approveOptions) readForKey(ctx context.Context) error {
	list, file, err := readCertificates(ctx, o.forKey, fileSigner)
	if errors.Is(err, certs.ErrNoCertificate) {
		o.service, err = publicKeyFile(ctx, file)
		return err
	}
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%s: %d certificates; --for-key takes the one of the service's key", file, len(list))
	}
	public, err := ima.CertificateKey(list[0])
	if err != nil {
		return err
	}
	if p := public.Purpose(); p != ima.Unstated && !p.Allows(o.kind.Form) {
		return &purposeError{public, o.kind.Form}
	}
	o.service, err = approval.SPKI(public)
	return err
}

// write signs the approval and writes its files.
func (o *approveOptions) write(ctx context.Context, p *proposal, key *keystore.Key, r *report.Approval) error {
	statement := &protocol.Approval{
		Version: protocol.Version, SPKI: o.service[:], Type: uint8(o.kind.Form.Type), Signature: o.kind.Form.Version, Hash: uint8(o.kind.Hash),
		Manifest: p.sum[:], Origin: o.origin, Made: o.made.Unix(), NotAfter: o.until.Unix(),
	}
	content, err := approval.Sign(ctx, key, key.Public, statement)
	if err != nil {
		return err
	}
	name, err := approval.StatementName(statement, key.Public)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.output, 0o755); err != nil {
		return err
	}
	list := filepath.Join(o.output, approval.ManifestName(p.sum))
	if err := p.writeTo(list); err != nil {
		return err
	}
	path := filepath.Join(o.output, name)
	if err := atomicfile.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	r.Files = []string{list, path}
	return nil
}
