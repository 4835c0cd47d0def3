package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

type rpmSignOptions struct {
	key      keyFlags
	openpgp  openPGPFlags
	packages packageFlags
	choice   packageSelectFlags
	engine   engineFlags
	evm      noEVMInPackages
}

func (o *rpmSignOptions) add(flags *pflag.FlagSet, signed string) {
	o.key.add(flags)
	purposeVar(flags, &o.key.purpose)
	o.engine.addSignature(flags)
	o.packages.addSign(flags)
	o.choice.add(flags)
	o.choice.addSelect(flags, "sign")
	o.openpgp.add(flags, signed)
	o.engine.addReplace(flags)
	o.engine.reuse.add(flags)
	o.engine.addReceipts(flags)
	o.evm.add(flags)
	flags.StringVar(&o.engine.hash, "hash", "", "")
	_ = flags.MarkHidden("hash") // which fails only if there is no such flag
}

func newRPMSign(a *app) *cobra.Command {
	var o rpmSignOptions
	cmd := &cobra.Command{
		Use:   "sign PATH…",
		Short: "Sign the files of packages, in their signature headers",
		Long: `Sign signs the file digests that the main header of each package states. It writes the
signatures to the signature header. Main header and payload do not change, so OpenPGP
signatures remain valid. PATH is a package, or a directory whose *.rpm files at any depth
are signed. Symbolic links are followed, but without --output-dir nothing outside of the
given paths is written.

Sign first checks a package, then replaces it completely or not at all. It does not change
source packages, or packages whose files this key has already signed. A signature that
was, or may have been, made by another key is an error without --force. Signatures that
rpm ignores are reported and replaced. Files that are not selected keep their signatures.
If some packages fail, the others stay signed.`,
		Example: `  imasign-build rpm sign --key x509_ima.key --cert x509_ima.crt RPMS/
  imasign-build rpm sign --output-dir signed --openpgp-key release.asc \
      --openpgp-pass file:pass one.rpm two.rpm
  imasign-build rpm sign --openpgp-key gpg:0123456789ABCDEF RPMS/
  imasign-build rpm sign --key keys/ --cache /srv/cache --from-manifest release-1/ RPMS/
  imasign-build rpm sign --dry-run --verbose RPMS/`,
		RunE: func(cmd *cobra.Command, args []string) error { return runRPMSign(cmd.Context(), a, o, args) },
	}
	o.packages.addOutput(cmd.Flags())
	o.add(cmd.Flags(), "each package")
	return cmd
}

func runRPMSign(ctx context.Context, a *app, o rpmSignOptions, paths []string) error {
	s, err := o.start(ctx, a, "rpm sign")
	if err != nil {
		return err
	}
	defer s.close()
	return s.paths(ctx, paths, &o.packages)
}

// waitingPackages is the number of packages in progress with a slow key. Each needs few
// signatures, and a network key takes hundreds of digests at a time.
const waitingPackages = 64

// packageSigning is a change of packages with an opened signing key.
type packageSigning struct {
	*packageChange

	signer signer
}

func (s *packageSigning) close() {
	s.progress.close()
	s.signer.close()
}

func (o *rpmSignOptions) check(a *app) error {
	o.key.fromEnvironment(a)
	if err := o.evm.check(); err != nil {
		return err
	}
	switch {
	case o.engine.hash != "":
		return usagef("--hash %s: a package itself determines the algorithm of its digests", o.engine.hash)
	case o.key.key == "" && !o.packages.dryRun:
		return usagef("no key was given: --key URI, or --dry-run to change nothing")
	}
	if err := o.engine.checkReceipts(o.key.key); err != nil {
		return err
	}
	return o.engine.reuse.check(o.key.key != "")
}

// start checks the flags and opens the keys.
func (o *rpmSignOptions) start(ctx context.Context, a *app, command string) (*packageSigning, error) {
	if err := o.check(a); err != nil {
		return nil, err
	}
	c, err := newPackageChange(a, command, &o.packages, &o.choice)
	if err != nil {
		return nil, err
	}
	s := &packageSigning{packageChange: c}
	if err := o.open(ctx, a, s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (o *rpmSignOptions) open(ctx context.Context, a *app, s *packageSigning) (err error) {
	o.engine.jobs = o.packages.jobs
	if err = s.signer.open(ctx, a, &o.key, &o.engine, s.progress.observer); err != nil {
		return err
	}
	if s.options.OpenPGP, err = o.openpgp.open(ctx, a); err != nil {
		return err
	}
	if o.engine.from != "" {
		if s.from, err = ima.ParseKeyID(o.engine.from); err != nil {
			return err
		}
	}
	s.signsWith(s.signer.public)
	if s.signer.receipts != nil {
		s.Receipts = s.signer.receipts
	}
	s.Plan = func(ctx context.Context, _ string, src signing.Source) (*signing.Plan, error) {
		s.progress.begun()
		return s.signer.Plan(ctx, src)
	}
	if s.signer.slow() {
		s.Waiting = waitingPackages
	}
	return nil
}
