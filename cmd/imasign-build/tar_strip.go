package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

type tarStripOptions struct {
	engine   engineFlags
	choice   selectFlags
	input    tarInputFlags
	oci      bool
	output   tarOutputFlags
	manifest string
	dryRun   bool
}

func newTarStrip(a *app) *cobra.Command {
	var o tarStripOptions
	cmd := &cobra.Command{
		Use:   "strip IN -o OUT",
		Short: "Remove signatures and digests from a tar archive",
		Long: `Strip writes a copy of the archive in which no file has security.ima, whoever
signed it, nor security.evm, because an EVM signature covers security.ima. Nothing
else changes: an archive that was signed and stripped is the one that it was.
` + compressionHelp + ociHelp + patternHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTarStrip(cmd.Context(), a, o, args[0])
		},
	}
	flags := cmd.Flags()
	o.engine.addJobs(flags)
	o.choice.add(flags)
	o.choice.addSelect(flags, "strip")
	o.input.add(flags)
	o.output.add(flags)
	addOCI(flags, &o.oci)
	flags.StringVar(&o.manifest, "manifest", "", "write the manifest to this `file`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write no archive")
	once(flags, "manifest")
	return cmd
}

func runTarStrip(ctx context.Context, a *app, o tarStripOptions, file string) error {
	if err := o.output.check(a, o.dryRun, o.oci, file, o.manifest); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	if err := o.choice.compile(progress.observer); err != nil {
		return err
	}
	defer o.choice.warn(a, containers(o.oci))
	engine, err := o.engine.engine(nil, nil, progress.observer)
	if err != nil {
		return err
	}
	if o.oci {
		run := newRewrite(a, "tar strip", manifest.Layer, file, o.output.file, progress, o.dryRun)
		run.manifest, o.output.jobs = o.manifest, o.engine.jobs
		return runTarOCI(ctx, run, o.input, o.output, func(ctx context.Context, src signing.Source) (*signing.Plan, error) {
			return engine.Strip(ctx, o.choice.wrap(src))
		})
	}
	archive, closeArchive, err := o.input.open(ctx, a, file, tarball.Options{Observe: progress.observer})
	if err != nil {
		return err
	}
	defer closeArchive()
	run := newRewrite(a, "tar strip", manifest.Archive, file, o.output.file, progress, o.dryRun)
	run.manifest, o.output.jobs = o.manifest, o.engine.jobs
	return run.do(ctx, func() (*signing.Plan, error) { return engine.Strip(ctx, o.choice.wrap(archive)) }, o.output.rewrite(a, archive))
}
