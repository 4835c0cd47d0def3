package main

import (
	"cmp"
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
	o.evm.add(flags)
	o.choice.addHashed(flags, "attach")
	o.choice.verity.add(flags)
	o.tarChange.add(flags, "sign", "write no archive; without --key, only compute digests")
}

func newTarSign(a *app) *cobra.Command {
	var o tarSignOptions
	cmd := &cobra.Command{
		Use:   "sign IN -o OUT",
		Short: "Sign the files in a tar archive",
		Long: `Sign writes a copy of the archive in which every regular file has a signature. The
signature is a pax record for the xattr security.ima, which GNU tar, bsdtar and others
restore. Everything else stays the same, byte for byte: the order, headers of any format,
sparse files and other xattrs. Hard links are signed at their first entry.

Valid signatures by the same key are kept. Files that are not selected keep their values.

--evm portable also signs owner, mode and labels of each file as the archive states them,
in a record for security.evm. See "imasign-build help evm".
` + copyHelp + ociHelp,
		Example: `  imasign-build tar sign --key K --cert C rootfs.tar -o signed.tar.zst
  gunzip <rootfs.tar.gz | imasign-build tar sign --key K --cert C - -o - >signed.tar
  tar -x --xattrs --xattrs-include='security.*' -f signed.tar.zst   # as root`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(o.evm.idle(cmd.Flags()), o.choice.verity.idle(cmd.Flags())); err != nil {
				return err
			}
			return runTarSign(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func runTarSign(ctx context.Context, a *app, o tarSignOptions, file string) error {
	if err := o.check(a, o.dryRun, &o.choice.verity); err != nil {
		return err
	}
	if err := o.output.check(a, o.dryRun, o.oci, file, o.manifest); err != nil {
		return err
	}
	progress := a.newProgress()
	progress.entries("digested", !o.choice.given())
	defer progress.close()
	run := newOperation(a, "tar sign", file, progress, nil, o.dryRun)
	end, err := run.signs(ctx, &o.signerFlags, &o.choice, containers(o.oci))
	if err != nil {
		return err
	}
	defer end()
	return o.run(ctx, run, o.engine.jobs)
}
