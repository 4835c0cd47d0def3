package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
)

type rootfsVerifyOptions struct {
	verifyFlags

	crossMounts bool
}

func newRootfsVerify(a *app) *cobra.Command {
	var o rootfsVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Verify the signatures in a directory tree",
		Long: `Verify checks that every file that must be signed has a signature in security.ima that is
valid for its content and a trusted certificate. It reports each file that fails, with
the reason. A digest in place of a signature is accepted only for files that --hashed
matches. DIR may also be an image of a file system; "image verify" has more flags for
images.

--evm-cert also verifies security.evm of the files that have one; with --require-evm each
file that must be signed needs one.

Exit code 3 means that verification failed, or that there was no file to verify. Exit
code 1 means that something could not be read.`,
		Example: `  imasign-build rootfs verify --cert x509_ima.crt rootfs/
  imasign-build rootfs verify --cert x509_ima.crt --require executable \
      --hashed /etc rootfs/
  imasign-build rootfs verify --cert keys/ --evm-cert keys/ --require-evm rootfs/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.evm.idle(cmd.Flags()); err != nil {
				return err
			}
			return runRootfsVerify(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags(), "the tree")
	addCrossMounts(cmd.Flags(), &o.crossMounts)
	return cmd
}

func runRootfsVerify(ctx context.Context, a *app, o rootfsVerifyOptions, dir string) error {
	v, err := newVerifier(ctx, a, &o.verifyFlags)
	if err != nil {
		return err
	}
	defer v.close()
	if isFile(dir) {
		input := imageInputFlags{unpackLimit: image.DefaultUnpackLimit}
		return v.verifyImage(ctx, "rootfs verify", dir, &input, &partitionFlags{})
	}
	defer o.choice.warn(a, "the tree")
	tree, err := rootfs.Open(dir, rootfs.Options{CrossMounts: o.crossMounts, Observe: v.progress.observer})
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // opened for reading
	v.progress.count(treeCount{paths: []string{dir}, crossMounts: o.crossMounts})
	return v.verify(ctx, tree, a.newVerification("rootfs verify", dir))
}

// openIndex opens the manifest in file. It returns nil for "".
func openIndex(ctx context.Context, file string) (*manifest.Index, func(), error) {
	if file == "" {
		return nil, func() {}, nil
	}
	f, size, err := openManifest(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	index, err := manifest.NewIndex(f, size)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return index, func() { _ = f.Close() }, nil
}

// newVerification starts the report on a tree, an archive or an image.
func (a *app) newVerification(command, of string) *report.Verification {
	return &report.Verification{Head: report.Head{Command: command}, Of: of, Verbose: a.verbose}
}

// finish prints a verification. It returns errWrong if the verification failed.
func (a *app) finish(r *report.Verification, allowEmpty bool) error {
	empty := r.Judged() == 0
	if empty {
		a.nothing("verify", r.Of, allowEmpty)
	}
	if r.Wrong() || empty && !allowEmpty {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}
