package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

type rpmSignOptions struct {
	key      keyFlags
	openpgp  openPGPFlags
	packages packageFlags
	hash     string
	force    bool
}

func newRPMSign(a *app) *cobra.Command {
	var o rpmSignOptions
	cmd := &cobra.Command{
		Use:   "sign PATH…",
		Short: "Sign the files of packages, in their signature headers",
		Long: `Sign writes a signature for every file into the signature header of each package
(directories: every *.rpm below them), from the digests that its main header states.
Main header and payload keep every byte, and OpenPGP signatures stay valid.

A package is checked first, and replaced whole or not at all. One whose files are
signed by this key already is left alone; another key's signatures are an error, or
replaced with --force; defective ones are named and replaced. Source packages are
left alone. Packages that are done stay done when others fail.`,
		Example: `  imasign-build rpm sign --key x509_ima.key --cert x509_ima.crt RPMS/
  imasign-build rpm sign --output-dir signed --openpgp-key release.asc --openpgp-pass file:pass one.rpm two.rpm
  imasign-build rpm sign --dry-run --verbose RPMS/`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runRPMSign(cmd.Context(), a, o, args) },
	}
	flags := cmd.Flags()
	o.key.add(flags)
	o.packages.addWrite(flags)
	o.openpgp.add(flags, "each package")
	flags.BoolVar(&o.force, "force", false, "replace signatures of other keys")
	flags.StringVar(&o.hash, "hash", "", "")
	_ = flags.MarkHidden("hash") // it is there
	return cmd
}

func runRPMSign(ctx context.Context, a *app, o rpmSignOptions, paths []string) error {
	o.key.fromEnvironment(a)
	switch {
	case o.hash != "":
		return usagef("--hash %s: a package itself states the algorithm of its digests", o.hash)
	case o.key.key == "" && !o.packages.dryRun:
		return usagef("which key? --key URI, or --dry-run to look only")
	}
	key, err := o.key.open(ctx, a)
	if err != nil {
		return err
	}
	if key != nil {
		defer key.Close() //nolint:errcheck // nothing is left to be lost
	}
	public, err := o.key.public(key)
	if err != nil {
		return err
	}
	openpgp, err := o.openpgp.open(ctx, a)
	if err != nil {
		return err
	}
	units, err := o.packages.units(paths)
	if err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	engine, err := (&engineFlags{jobs: o.packages.jobs, force: o.force}).engine(key, public, progress.observer)
	if err != nil {
		return err
	}
	s, err := o.packages.signing(progress.observer)
	if err != nil {
		return err
	}
	s.Options.OpenPGP = openpgp
	if public != nil {
		s.Longest = public.MaxValueSize()
	}
	s.Plan = func(ctx context.Context, p *rpmsign.Package) (*signing.Plan, error) { return engine.Plan(ctx, p) }
	run := &packageChange{app: a, Command: "rpm sign"}
	return run.do(ctx, units, &o.packages, s, public, progress)
}
