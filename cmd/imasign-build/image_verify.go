package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

type imageVerifyOptions struct {
	verifyFlags

	input     imageInputFlags
	partition partitionFlags
	absent    absences
}

func newImageVerify(a *app) *cobra.Command {
	var o imageVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Verify the files in an image",
		Long: `Verify checks that every file in the image that must be signed has a signature in
security.ima that is valid for its content and a trusted certificate. It reports each file
that fails, with the reason. It mounts nothing and needs no privileges. IMAGE may be -, for
standard input.

--manifest also compares the image with the manifest that was written when its tree was
signed: files, owners, modes, contents and values must be the same. This finds whatever
was changed, lost or added since then. A file that the manifest does not list is an error,
unless --include, --exclude, --hashed or --require is given: then these flags decide about
it, as they do without a manifest. They change nothing for files that the manifest lists.
--exclude-path accepts that files are missing.

--partition chooses a file system if there are several. If it is repeated, each partition
but the root needs :DIR, the directory that it is mounted on, and the files of all are
verified together.

Exit code 3 means that verification failed, or that there was no file to verify. Exit
code 1 means that the image could not be read.`,
		Example: `  imasign-build image verify --cert x509_ima.crt rootfs.ext4
  imasign-build image verify --cert keys/ --manifest m.jsonl \
      --partition rootfs --partition data:/var disk.wic.zst
  imasign-build image verify --cert keys/ --manifest m.jsonl \
      --exclude-path boot/ --partition 2 disk.wic`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.evm.idle(cmd.Flags()); err != nil {
				return err
			}
			if o.manifest == "" {
				if err := idle(cmd.Flags(), "--manifest", "exclude-path"); err != nil {
					return err
				}
			}
			return runImageVerify(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags(), "the image")
	o.input.add(cmd.Flags(), filesLimited)
	o.partition.add(cmd.Flags())
	o.absent.add(cmd.Flags())
	return cmd
}

func runImageVerify(ctx context.Context, a *app, o imageVerifyOptions, file string) error {
	absent, err := o.absent.rule()
	if err != nil {
		return err
	}
	v, err := newVerifier(ctx, a, &o.verifyFlags)
	if err != nil {
		return err
	}
	defer v.close()
	v.trust.MayLack = absent
	return v.verifyImage(ctx, "image verify", file, &o.input, &o.partition)
}

// verifyImage verifies the files of an image.
func (v *verifier) verifyImage(ctx context.Context, command, file string, input *imageInputFlags, partition *partitionFlags) error {
	defer v.flags.choice.warn(v.app, "the image")
	img, err := input.open(ctx, v.app, file)
	if err != nil {
		return err
	}
	defer img.Close() //nolint:errcheck // opened for reading
	src, err := partition.source(img, input.unpackLimit, v.trust.Index)
	if err != nil {
		return err
	}
	v.progress.count(imageCount{src, false})
	r := v.newVerification(command, img.Name())
	if err := v.container(ctx, src, r.Take); err != nil {
		return err
	}
	if err := img.Unchanged(); err != nil { // the walk ends before the last files are read
		return err
	}
	return v.conclude(r)
}

// imageCount is what is counted of an image.
type imageCount struct {
	*image.Source

	files bool // only regular files, and the content of each name of a hard link
}

// count walks through the image. It ends early when stop is closed.
func (c imageCount) count(stop <-chan struct{}) (sum amount, err error) {
	type inode struct {
		in filesystem.Reader
		id filesystem.ID
	}
	met := map[inode]bool{}
	for n, err := range c.Walk(context.Background()) {
		select {
		case <-stop:
			return amount{}, errStopped
		default:
		}
		if err != nil {
			return amount{}, err
		}
		regular, key := n.Mode.IsRegular(), inode{n.Reader, n.ID}
		if regular || !c.files {
			sum.items++
		}
		if !regular || met[key] {
			continue
		}
		if n.Links > 1 && !c.files {
			met[key] = true
		}
		sum.bytes += n.Size
	}
	return sum, nil
}
