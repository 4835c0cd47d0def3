package main

import (
	"context"

	"github.com/spf13/cobra"
)

type tarStripOptions struct {
	tarChange

	engine engineFlags
}

func newTarStrip(a *app) *cobra.Command {
	var o tarStripOptions
	cmd := &cobra.Command{
		Use:   "strip IN -o OUT",
		Short: "Remove signatures and digests from a tar archive",
		Long: `Strip writes a copy of the archive in which no file has the xattr security.ima, whichever
key signed it. It also removes security.evm, because an EVM signature covers
security.ima. Nothing else changes. An archive that is signed, then stripped, is equal to
the original.
` + copyHelp + ociHelp,
		Example: `  imasign-build tar strip signed.tar.zst -o rootfs.tar.zst`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTarStrip(cmd.Context(), a, o, args[0])
		},
	}
	o.engine.addJobs(cmd.Flags())
	o.add(cmd.Flags(), "strip", "write no archive")
	return cmd
}

func runTarStrip(ctx context.Context, a *app, o tarStripOptions, file string) error {
	if err := o.output.check(a, o.dryRun, o.oci, file, o.manifest); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	progress.entries("read", false)
	if err := o.choice.compile(progress.observer); err != nil {
		return err
	}
	defer o.choice.warn(a, containers(o.oci))
	engine, err := o.engine.engine(nil, nil, progress.observer)
	if err != nil {
		return err
	}
	return o.run(ctx, newOperation(a, "tar strip", file, progress, engine.Strip, o.dryRun), o.engine.jobs)
}
