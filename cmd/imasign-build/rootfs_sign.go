package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
)

type rootfsSignOptions struct {
	signerFlags

	choice                        selectFlags
	crossMounts                   bool
	output, restoreFile, manifest string
	dryRun                        bool
}

func (o *rootfsSignOptions) add(flags *pflag.FlagSet) {
	o.signerFlags.add(flags)
	o.choice.add(flags)
	o.choice.addHashed(flags)
	o.choice.addSelect(flags, "sign")
	addCrossMounts(flags, &o.crossMounts)
	flags.StringVar(&o.output, "output", "xattr", "where signatures `go`: xattr, restore (a file for setfattr --restore) or none")
	flags.StringVar(&o.restoreFile, "restore-file", "-", "where --output restore writes, a `file` or - for standard output")
	flags.StringVar(&o.manifest, "manifest", "", "write the manifest to this `file`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "change nothing; without --key digest only")
	once(flags, "output", "restore-file", "manifest")
}

func newRootfsSign(a *app) *cobra.Command {
	var o rootfsSignOptions
	cmd := &cobra.Command{
		Use:   "sign DIR",
		Short: "Sign the files of a directory tree",
		Long: `Sign gives every regular file of the tree a signature in security.ima.

Valid signatures by the same key are kept, unless --hash asks for another hash. A
signature that was, or may have been, made by another key is an error without --force.
Nothing is changed before every file is digested and signed; when attaching fails, the
previous values are restored.
` + patternHelp,
		Example: `  imasign-build rootfs sign --key x509_ima.key --cert x509_ima.crt rootfs/
  imasign-build rootfs sign --select executable --hashed /etc rootfs/
  imasign-build rootfs sign --output restore --restore-file sigs rootfs/   # then, as root: cd rootfs && setfattr -h --restore=../sigs
  imasign-build rootfs sign --dry-run --manifest digests.jsonl rootfs/`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.output != "restore" {
				if err := idle(cmd.Flags(), "--output restore", "restore-file"); err != nil {
					return err
				}
			}
			return runRootfsSign(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func (o *rootfsSignOptions) check(a *app) error {
	o.key.fromEnvironment(a)
	switch {
	case o.output != "xattr" && o.output != "restore" && o.output != "none":
		return usagef("--output %s: it is xattr, restore or none", o.output)
	case o.key.key == "" && !o.dryRun:
		return usagef("which key? --key URI, or --dry-run to digest only")
	case o.output == "restore" && o.restoreFile == "-" && a.json && !o.dryRun:
		return usagef("--json and --output restore both write to standard output: give --restore-file")
	case o.manifest == "-" && (a.json || o.output == "restore" && o.restoreFile == "-" && !o.dryRun):
		return usagef("--manifest - is not alone on standard output: name a file")
	case o.output == "none" && o.manifest == "" && !o.dryRun:
		return usagef("--output none leaves nothing of the signatures: give --manifest")
	}
	return nil
}

func runRootfsSign(ctx context.Context, a *app, o rootfsSignOptions, dir string) error {
	if err := o.check(a); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	if isLayout(dir) {
		progress.observer.Warn(dir, "is an OCI image layout: its blobs are signed, the files in its layers are not (tar sign --oci signs those)")
	}
	s, err := newSigner(ctx, a, &o.signerFlags, progress.observer)
	if err != nil {
		return err
	}
	defer s.close()
	if err := o.choice.compile(progress.observer); err != nil {
		return err
	}
	defer o.choice.warn(a, "the tree")
	run := newOperation(a, "rootfs sign", dir, progress, s.public, s.Plan, o.dryRun)
	run.Select = o.choice.wrap
	progress.entries("digested", !o.choice.given())
	progress.count(treeCount{paths: []string{dir}, crossMounts: o.crossMounts})
	if err := run.lists(o.manifest); err != nil {
		return err
	}
	if o.output == "xattr" {
		return run.run(ctx, inPlace(dir, rootfs.Options{CrossMounts: o.crossMounts, Jobs: o.engine.jobs}, run))
	}
	if o.output == "restore" {
		run.writes(o.restoreFile)
	}
	return run.run(ctx, o.detached(dir, run))
}

// inPlace is the unit of a tree whose files are changed.
func inPlace(dir string, o rootfs.Options, run *operation) operate.Unit {
	o.Observe = run.progress.observer
	return operate.Unit{Kind: manifest.Tree, Live: true, Open: func(ctx context.Context) (operate.Opened, error) {
		tree, err := rootfs.Open(dir, o)
		if err == nil && !run.DryRun { // before the work of planning rather than after it
			if err = tree.Probe(ctx); err != nil {
				_ = tree.Close() // opened for reading
			}
		}
		if err != nil {
			return operate.Opened{}, err
		}
		return operate.Opened{Container: tree}, nil
	}}
}

// detached is the unit of a tree whose files keep what they have.
func (o *rootfsSignOptions) detached(dir string, run *operation) operate.Unit {
	return operate.Unit{Kind: manifest.Tree, Open: func(context.Context) (operate.Opened, error) {
		tree, err := rootfs.Open(dir, rootfs.Options{CrossMounts: o.crossMounts, Observe: run.progress.observer})
		if err != nil {
			return operate.Opened{}, err
		}
		container := &rootfs.Detached{Tree: tree}
		if o.output == "restore" {
			container.Output = func(write func(io.Writer) error) error { return run.writeOutput(o.restoreFile, write) }
		}
		return operate.Opened{Container: container}, nil
	}}
}
