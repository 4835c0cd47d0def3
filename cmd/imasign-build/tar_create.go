package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

type tarCreateOptions struct {
	signerFlags

	sign        bool
	choice      selectFlags
	crossMounts bool
	output      tarOutputFlags
	manifest    string
	dryRun      bool
}

func (o *tarCreateOptions) add(flags *pflag.FlagSet) {
	flags.BoolVar(&o.sign, "sign", false, "sign the files in the archive; the tree stays as it is")
	o.signerFlags.add(flags)
	o.evm.add(flags)
	o.choice.add(flags)
	o.choice.addHashed(flags, "attach")
	o.choice.verity.add(flags)
	o.choice.addSelect(flags, "sign")
	addCrossMounts(flags, &o.crossMounts)
	o.output.add(flags)
	flags.StringVar(&o.manifest, "manifest", "", "with --sign, write a manifest of the files to `FILE`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "with --sign, write no archive; without --key, only compute digests")
	once(flags, "manifest")
}

// signingFlags returns the flags that have no effect without --sign.
func signingFlags() []string {
	return []string{"key", "cert", "key-pass", "hash", "force", "from-key-id", "include", "exclude", "hashed", "verity", "select", "evm", "manifest", "dry-run", "signature", "key-for", "kernel", "kernel-config", "cache", "cache-mirror", "from-manifest"}
}

func newTarCreate(a *app) *cobra.Command {
	var o tarCreateOptions
	cmd := &cobra.Command{
		Use:   "create DIR -o OUT",
		Short: "Make a reproducible tar archive of a directory tree",
		Long: `Create writes a pax archive of the tree, with all xattrs, including signatures. Equal
trees give equal archives: entries are sorted by path, owners are numeric, and there are
no access and change times. Modification times are those of the files, but not later than
SOURCE_DATE_EPOCH if that is set.

The archive contains all entries. --include and --exclude only select the files that
--sign signs. --evm portable also signs owner, mode and labels of each file, in
security.evm ("imasign-build help evm").

The name of OUT determines its compression: .tar, .tar.gz, .tgz, .tar.zst, .tar.xz,
.tar.bz2 or .tar.lz4. --compression overrides this. OUT may be -, for standard output. It
appears when it is complete.`,
		Example: `  imasign-build tar create rootfs/ -o rootfs.tar.zst
  imasign-build tar create --sign --key x509_ima.key --cert x509_ima.crt rootfs/ \
      -o signed.tar`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.sign {
				if err := idle(cmd.Flags(), "--sign", signingFlags()...); err != nil {
					return err
				}
			}
			if err := cmp.Or(o.evm.idle(cmd.Flags()), o.choice.verity.idle(cmd.Flags())); err != nil {
				return err
			}
			return runTarCreate(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func runTarCreate(ctx context.Context, a *app, o tarCreateOptions, dir string) error {
	if o.sign {
		if err := o.check(a, o.dryRun, &o.choice.verity); err != nil {
			return err
		}
	}
	latest, err := a.date()
	if err != nil {
		return err
	}
	if err := o.output.check(a, o.dryRun, false, "", o.manifest); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	progress.archives(!o.choice.given())
	progress.count(treeCount{paths: []string{dir}, crossMounts: o.crossMounts})
	c := tarCreation{app: a, dir: dir, output: o.output, options: tarball.CreateOptions{
		CrossMounts: o.crossMounts, Latest: latest, Jobs: o.engine.jobs, Observe: progress.observer,
	}}
	c.output.jobs = o.engine.jobs
	if o.sign {
		return runTarCreateSigned(ctx, a, o, progress, &c)
	}
	run := newOperation(a, "tar create", dir, progress, nil, false)
	run.writes(o.output.file)
	return operate.Run(ctx, c.unit("not to be signed"), &run.Operation, func(*operate.Outcome) error {
		progress.close()
		return c.report(run.summary, time.Since(run.started))
	})
}

// runTarCreateSigned plans the signatures of the tree and writes them to the archive.
func runTarCreateSigned(ctx context.Context, a *app, o tarCreateOptions, progress *progress, c *tarCreation) error {
	if isLayout(c.dir) {
		return fmt.Errorf("%s is an OCI image layout: the files in its layers would get no signatures: use tar sign --oci", c.dir)
	}
	run := newOperation(a, "tar create", c.dir, progress, nil, o.dryRun)
	end, err := run.signs(ctx, &o.signerFlags, &o.choice, "the tree")
	if err != nil {
		return err
	}
	defer end()
	run.writes(o.output.file)
	if err := run.lists(o.manifest); err != nil {
		return err
	}
	return run.run(ctx, c.unit(""))
}

// tarCreation is a tree and its archive.
type tarCreation struct {
	*app

	dir     string
	options tarball.CreateOptions
	output  tarOutputFlags
	counts  tarball.Counts
}

// unit returns the tree with the archive. If skip is not empty, nothing is signed.
func (c *tarCreation) unit(skip string) operate.Unit {
	return operate.Unit{Path: c.dir, Kind: manifest.Tree, Open: func(context.Context) (operate.Opened, error) {
		t, err := rootfs.Open(c.dir, rootfs.Options{CrossMounts: c.options.CrossMounts, Observe: c.options.Observe})
		if err != nil {
			return operate.Opened{}, err
		}
		return operate.Opened{Container: archivedTree{t, c, skip == ""}, Skip: skip}, nil
	}}
}

// archivedTree is an open tree and its archive.
type archivedTree struct {
	*rootfs.Tree

	archive *tarCreation
	sign    bool
}

// Prepare returns the change that writes the archive.
func (t archivedTree) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	if !t.sign {
		plan = nil
	}
	return &signing.Change{Any: true, Commit: func(ctx context.Context) error { return t.archive.write(ctx, plan) }}, nil
}

func (c *tarCreation) write(ctx context.Context, plan *signing.Plan) error {
	return c.output.write(ctx, c.app, compress.None, func(w io.Writer) (err error) {
		c.counts, err = tarball.Create(ctx, w, c.dir, plan, c.options)
		return err
	})
}

func (c *tarCreation) report(to io.Writer, took time.Duration) error {
	n := c.counts
	return c.printTo(to, &report.Archive{
		Head: report.Head{Command: "tar create"}, EntriesWritten: n.Entries, SignedBefore: n.Signed, Links: n.Links,
		Bytes: n.Bytes, Seconds: took.Seconds(), Of: c.dir,
	}, nil)
}
