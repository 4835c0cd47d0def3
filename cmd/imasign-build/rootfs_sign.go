package main

import (
	"cmp"
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
	o.evm.add(flags)
	o.choice.add(flags)
	o.choice.addHashed(flags, "attach")
	o.choice.verity.add(flags)
	o.choice.addSelect(flags, "sign")
	addCrossMounts(flags, &o.crossMounts)
	choiceVar(flags, &o.output, "output", "xattr", "where to write the signatures", []option{
		{"xattr", "security.ima of each file"}, {"restore", "a file for setfattr --restore"}, {"none", "nowhere, except to --manifest"},
	})
	flags.StringVar(&o.restoreFile, "restore-file", "-", "write the output of --output restore to `FILE`, or to standard output with -")
	flags.StringVar(&o.manifest, "manifest", "", "write a manifest of the files to `FILE`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "change no file; with --key, make the signatures nevertheless, as for --manifest; without it, only compute digests")
	once(flags, "output", "restore-file", "manifest")
}

func newRootfsSign(a *app) *cobra.Command {
	var o rootfsSignOptions
	cmd := &cobra.Command{
		Use:   "sign DIR",
		Short: "Sign the files of a directory tree",
		Long: `Sign gives every regular file of the tree a signature in the xattr security.ima.

Valid signatures by the same key are kept, unless they use another hash than --hash. A
signature that was, or may have been, made by another key is an error without --force.
Sign changes nothing before it has signed the digest of every file. If it fails to set an
xattr, it restores the previous values.

--evm portable also signs owner, mode and labels of each file, in security.evm, with a
key of its own (x509_evm). See "imasign-build help evm".

--verity signs the fs-verity digest of some files in place of the content. The device must
enable fs-verity on these files, and its policy must ask for such signatures.`,
		Example: `  imasign-build rootfs sign --key x509_ima.key --cert x509_ima.crt rootfs/
  imasign-build rootfs sign --select executable --hashed /etc rootfs/
  imasign-build rootfs sign --output restore --restore-file sigs rootfs/
  cd rootfs && setfattr -h --restore=../sigs   # as root
  imasign-build rootfs sign --dry-run --manifest digests.jsonl rootfs/
  imasign-build rootfs sign --key keys/ --evm portable rootfs/
  imasign-build rootfs sign --key keys/ --from-manifest release-1.jsonl rootfs/
  imasign-build rootfs sign --key keys/ --key-for v3 --verity /usr rootfs/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.output != "restore" {
				if err := idle(cmd.Flags(), "--output restore", "restore-file"); err != nil {
					return err
				}
			}
			if err := cmp.Or(o.evm.idle(cmd.Flags()), o.choice.verity.idle(cmd.Flags())); err != nil {
				return err
			}
			return runRootfsSign(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func (o *rootfsSignOptions) check(a *app) error {
	if err := o.signerFlags.check(a, o.dryRun, &o.choice.verity); err != nil {
		return err
	}
	switch {
	case o.output == "restore" && o.restoreFile == "-" && a.json && !o.dryRun:
		return usagef("--json and --output restore would both write to standard output: give --restore-file FILE")
	case o.manifest == "-" && (a.json || o.output == "restore" && o.restoreFile == "-" && !o.dryRun):
		return usagef("the manifest and other output would both go to standard output: give --manifest FILE")
	case o.output == "none" && o.manifest == "" && !o.dryRun:
		return usagef("--output none would discard the signatures: give --manifest FILE")
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
	run := newOperation(a, "rootfs sign", dir, progress, nil, o.dryRun)
	end, err := run.signs(ctx, &o.signerFlags, &o.choice, "the tree")
	if err != nil {
		return err
	}
	defer end()
	progress.entries("digested", !o.choice.given())
	progress.count(treeCount{paths: []string{dir}, crossMounts: o.crossMounts})
	if err := run.lists(o.manifest); err != nil {
		return err
	}
	if o.output == "xattr" {
		return run.run(ctx, inPlace(dir, rootfs.Options{CrossMounts: o.crossMounts, Jobs: o.engine.jobs}, run, o.evm.xattrs()...))
	}
	if o.output == "restore" {
		run.writes(o.restoreFile)
	}
	return run.run(ctx, o.detached(dir, run))
}

// inPlace returns the unit of a tree whose files are changed. If the xattrs cannot be set,
// it is refused before all files are read.
func inPlace(dir string, o rootfs.Options, run *operation, xattrs ...string) operate.Unit {
	o.Observe = run.progress.observer
	return operate.Unit{Kind: manifest.Tree, Live: true, Open: func(ctx context.Context) (operate.Opened, error) {
		tree, err := rootfs.Open(dir, o)
		if err == nil && !run.DryRun {
			if err = tree.Probe(ctx, xattrs...); err != nil {
				_ = tree.Close() // opened for reading
			}
		}
		if err != nil {
			return operate.Opened{}, err
		}
		return operate.Opened{Container: tree}, nil
	}}
}

// detached returns the unit of a tree whose files are not changed.
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
