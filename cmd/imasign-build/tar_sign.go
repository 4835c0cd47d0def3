package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

type tarSignOptions struct {
	signerFlags

	choice   selectFlags
	input    tarInputFlags
	oci      bool
	output   tarOutputFlags
	manifest string
	dryRun   bool
}

func (o *tarSignOptions) add(flags *pflag.FlagSet) {
	o.signerFlags.add(flags)
	o.choice.add(flags)
	o.choice.addHashed(flags)
	o.choice.addSelect(flags, "sign")
	o.input.add(flags)
	o.output.add(flags)
	addOCI(flags, &o.oci)
	flags.StringVar(&o.manifest, "manifest", "", "write the manifest to this `file`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write no archive; without --key digest only")
	once(flags, "manifest")
}

func newTarSign(a *app) *cobra.Command {
	var o tarSignOptions
	cmd := &cobra.Command{
		Use:   "sign IN -o OUT",
		Short: "Sign the files in a tar archive",
		Long: `Sign writes a copy of the archive in which every regular file carries a signature
in security.ima, as a pax record that GNU tar, bsdtar and others restore. Nothing
else about the archive changes: order, headers of whatever dialect, sparse files,
other xattrs stay byte for byte. Hard links are signed at their first entry.

Signatures by the same key that hold already stay as they are; files that are not
selected keep the values that they have. OUT appears when it
is complete, and may be IN.
` + compressionHelp + ociHelp + patternHelp,
		Example: `  imasign-build tar sign --key x509_ima.key --cert x509_ima.crt rootfs.tar -o signed.tar.zst
  … | imasign-build tar sign --key K --cert C - -o - | …
  tar -x --xattrs --xattrs-include='security.*' -f signed.tar.zst      # as root`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTarSign(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func runTarSign(ctx context.Context, a *app, o tarSignOptions, file string) error {
	o.key.fromEnvironment(a)
	if o.key.key == "" && !o.dryRun {
		return usagef("which key? --key URI, or --dry-run to digest only")
	}
	if err := o.output.check(a, o.dryRun, o.oci, file, o.manifest); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	if err := o.choice.compile(progress.observer); err != nil {
		return err
	}
	defer o.choice.warn(a, containers(o.oci))
	s, err := newSigner(ctx, a, &o.signerFlags, progress.observer)
	if err != nil {
		return err
	}
	defer s.close()
	if o.oci {
		run := newRewrite(a, "tar sign", manifest.Layer, file, o.output.file, progress, o.dryRun)
		run.manifest, run.public, o.output.jobs = o.manifest, s.public, o.engine.jobs
		return runTarOCI(ctx, run, o.input, o.output, func(ctx context.Context, src signing.Source) (*signing.Plan, error) {
			return s.Plan(ctx, o.choice.wrap(src))
		})
	}
	archive, closeArchive, err := o.input.open(ctx, a, file, tarball.Options{Observe: progress.observer})
	if err != nil {
		return err
	}
	defer closeArchive()
	run := newRewrite(a, "tar sign", manifest.Archive, file, o.output.file, progress, o.dryRun)
	run.public, run.manifest = s.public, o.manifest
	o.output.jobs = o.engine.jobs
	return run.do(ctx, func() (*signing.Plan, error) { return s.Plan(ctx, o.choice.wrap(archive)) }, o.output.rewrite(a, archive))
}
