package main

import (
	"cmp"
	"context"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4sign"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/manifest"
)

type imageSignOptions struct {
	signerFlags

	choice    selectFlags
	input     imageInputFlags
	partition partitionFlags
	output    imageOutputFlags
	manifest  string
	dryRun    bool
}

func (o *imageSignOptions) add(flags *pflag.FlagSet) {
	o.signerFlags.add(flags)
	o.evm.add(flags)
	o.choice.add(flags)
	o.choice.addHashed(flags, "attach")
	o.choice.verity.add(flags)
	o.choice.addSelect(flags, "sign")
	o.input.add(flags, filesLimited)
	o.partition.add(flags)
	o.output.add(flags)
	flags.StringVar(&o.manifest, "manifest", "", "write a manifest of the files to `FILE`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write no image; without --key, only compute digests")
	once(flags, "manifest")
}

func newImageSign(a *app) *cobra.Command {
	var o imageSignOptions
	cmd := &cobra.Command{
		Use:   "sign IMAGE -o OUT",
		Short: "Sign the files in an ext2, ext3 or ext4 image",
		Long: `Sign writes a copy of the image in which every regular file has a signature in the xattr
security.ima, as if the tree had been signed before the image was made. IMAGE is an ext2,
ext3 or ext4 file system, or has partitions with such file systems. Signing needs neither
root nor a mount, but debugfs and e2fsck of e2fsprogs. The copy is compared with IMAGE file
by file before it appears.

IMAGE may be compressed, or - for standard input. The name of OUT decides how OUT is
compressed: .gz, .zst, .xz, .bz2 or .lz4. OUT may be IMAGE, or - for standard output.

Valid signatures by the same key are kept. Sign refuses an image if its hash tree
(dm-verity), its footer (AVB), a block map beside it (bmap) or the description of its bundle
would no longer match. squashfs and EROFS images cannot be changed. Make a new one from a
signed archive:

  sqfs2tar --no-skip IMAGE | imasign-build tar sign --key K --cert C - -o - |
      sqfstar -root-mode 0755 OUT`,
		Example: `  imasign-build image sign --key K --cert C rootfs.ext4 -o signed.ext4
  imasign-build image sign --key K --partition 2 disk.wic.gz -o signed.wic.gz
  imasign-build image sign --key K --partition root disk.img -o disk.img
  imasign-build image sign --dry-run --manifest M rootfs.ext4`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(o.evm.idle(cmd.Flags()), o.choice.verity.idle(cmd.Flags())); err != nil {
				return err
			}
			return runImageSign(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func runImageSign(ctx context.Context, a *app, o imageSignOptions, file string) error {
	if err := o.check(a, o.dryRun, &o.choice.verity); err != nil {
		return err
	}
	if err := o.output.check(a, o.dryRun, o.manifest); err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	progress.entries("digested", !o.choice.given())
	run := newOperation(a, "image sign", file, progress, nil, o.dryRun)
	end, err := run.signs(ctx, &o.signerFlags, &o.choice, "the image")
	if err != nil {
		return err
	}
	defer end()
	run.writes(o.output.file)
	if err := run.lists(o.manifest); err != nil {
		return err
	}
	return run.run(ctx, o.copyOf(run, file))
}

// copyOf returns the unit of an image and its signed copy.
func (o *imageSignOptions) copyOf(run *operation, file string) operate.Unit {
	return operate.Unit{Kind: manifest.Tree, Open: func(ctx context.Context) (operate.Opened, error) {
		img, err := o.input.open(ctx, run.app, file)
		if err != nil {
			return operate.Opened{}, err
		}
		c, err := o.open(ctx, run, img)
		if err != nil {
			_ = img.Close() // only read
			return operate.Opened{}, err
		}
		return operate.Opened{Container: c}, nil
	}}
}

// open opens the chosen file systems of an image for a signed copy.
func (o *imageSignOptions) open(ctx context.Context, run *operation, img *image.Image) (*ext4sign.Copy, error) {
	mounts, err := img.Choose(o.partition.names)
	if err != nil {
		return nil, err
	}
	return ext4sign.Open(ctx, img, mounts, ext4sign.Options{
		Walk: filesystem.Options{MaxContent: o.input.unpackLimit}, Output: o.output.file,
		Write: func(ctx context.Context, write func(*os.File) error) error {
			return o.output.write(ctx, run.app, img.Compression(), o.engine.jobs, write)
		},
		Environment: run.childEnvironment(), Jobs: o.engine.jobs, Observe: run.progress.observer,
	})
}
