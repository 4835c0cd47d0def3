package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/signing"
)

type manifestApplyOptions struct {
	trust       trustFlags
	engine      engineFlags
	crossMounts bool
	dryRun      bool
}

func newManifestApply(a *app) *cobra.Command {
	var o manifestApplyOptions
	cmd := &cobra.Command{
		Use:   "apply MANIFEST DIR",
		Short: "Attach the signatures of a manifest to a directory tree",
		Long: `Apply attaches what a manifest states. Every file is digested first: where the
content is not what the manifest says, a file is missing, or a signature does not
hold with a trusted certificate, nothing at all is attached.`,
		Example: `  imasign-build rootfs sign --key K --cert C --output none --manifest m.jsonl rootfs/
  imasign-build manifest apply --cert C m.jsonl rootfs/                # as root`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runManifestApply(cmd.Context(), a, o, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	o.trust.add(flags)
	o.engine.addJobs(flags)
	o.engine.addForce(flags)
	flags.BoolVar(&o.crossMounts, "cross-mounts", false, "enter file systems that are mounted inside the tree")
	flags.BoolVar(&o.dryRun, "dry-run", false, "check everything, change nothing")
	return cmd
}

func runManifestApply(ctx context.Context, a *app, o manifestApplyOptions, file, dir string) error {
	ring, err := o.trust.ring(a)
	if err != nil {
		return err
	}
	index, closeIndex, err := openIndex(file)
	if err != nil {
		return err
	}
	defer closeIndex()
	progress := a.newProgress()
	defer progress.close()
	engine, err := o.engine.engine(nil, nil, progress.observer)
	if err != nil {
		return err
	}
	choice := selectFlags{crossMounts: o.crossMounts}
	tree, err := choice.open(dir, "all", progress.observer)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // opened for reading
	if !o.dryRun {
		if err := tree.Probe(ctx); err != nil {
			return err
		}
	}
	run := newChange(a, "manifest apply", dir, progress, o.dryRun)
	return run.do(ctx, func() (*signing.Plan, error) { return engine.Apply(ctx, tree, index, ring) }, tree.Attach)
}

// openManifest opens a manifest for reading at any offset.
func openManifest(file string) (*os.File, int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, fmt.Errorf("open manifest: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: a manifest is read more than once and must be a regular file", file)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
