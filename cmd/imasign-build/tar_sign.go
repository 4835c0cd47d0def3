package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type tarSignOptions struct {
	signerFlags
	tarChange
}

func (o *tarSignOptions) add(flags *pflag.FlagSet) {
	o.signerFlags.add(flags)
	o.choice.addHashed(flags)
	o.tarChange.add(flags, "sign", "write no archive; without --key digest only")
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
	progress.entries("digested", !o.choice.given())
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
	return o.run(ctx, newOperation(a, "tar sign", file, progress, s.public, s.Plan, o.dryRun), o.engine.jobs)
}
