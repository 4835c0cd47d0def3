package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/rootfs"
)

type rootfsStripOptions struct {
	engine      engineFlags
	choice      selectFlags
	crossMounts bool
	dryRun      bool
}

func newRootfsStrip(a *app) *cobra.Command {
	var o rootfsStripOptions
	cmd := &cobra.Command{
		Use:   "strip DIR",
		Short: "Remove signatures and digests from a directory tree",
		Long: `Strip removes the xattr security.ima from every file of the tree, whichever key signed
the file. It also removes security.evm, because an EVM signature covers security.ima.`,
		Example: `  imasign-build rootfs strip rootfs/
  imasign-build rootfs strip --include '*.conf' rootfs/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRootfsStrip(cmd.Context(), a, o, args[0])
		},
	}
	o.engine.addJobs(cmd.Flags())
	o.choice.add(cmd.Flags())
	o.choice.addSelect(cmd.Flags(), "strip")
	addCrossMounts(cmd.Flags(), &o.crossMounts)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "report what would change, but change nothing")
	return cmd
}

func runRootfsStrip(ctx context.Context, a *app, o rootfsStripOptions, dir string) error {
	progress := a.newProgress()
	defer progress.close()
	engine, err := o.engine.engine(nil, nil, progress.observer)
	if err != nil {
		return err
	}
	if err := o.choice.compile(progress.observer); err != nil {
		return err
	}
	defer o.choice.warn(a, "the tree")
	run := newOperation(a, "rootfs strip", dir, progress, engine.Strip, o.dryRun)
	run.Select = o.choice.wrap
	progress.entries("read", false)
	progress.count(treeCount{paths: []string{dir}, crossMounts: o.crossMounts})
	return run.run(ctx, inPlace(dir, rootfs.Options{CrossMounts: o.crossMounts, Jobs: o.engine.jobs}, run))
}
