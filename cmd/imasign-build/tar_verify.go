package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/tarball"
)

type tarVerifyOptions struct {
	verifyFlags

	input tarInputFlags
	oci   bool
}

func newTarVerify(a *app) *cobra.Command {
	var o tarVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify IN",
		Short: "Verify the signatures in a tar archive",
		Long: `Verify checks that every regular file in the archive has a signature that is valid for its
content and a trusted certificate. It reports each file that fails, with the reason. A
digest in place of a signature is accepted only for files that --hashed matches. Verify
extracts no files. IN may be -, for standard input.

--evm-cert also verifies security.evm, with the owners, modes and labels in the archive.

Exit code 3 means that verification failed, or that there was no file to verify. Exit
code 1 means that the archive could not be read.`,
		Example: `  imasign-build tar verify --cert x509_ima.crt signed.tar.zst`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.evm.idle(cmd.Flags()); err != nil {
				return err
			}
			return runTarVerify(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags(), "the archive")
	o.input.add(cmd.Flags())
	addOCI(cmd.Flags(), &o.oci)
	return cmd
}

func runTarVerify(ctx context.Context, a *app, o tarVerifyOptions, file string) error {
	if o.oci && o.manifest != "" {
		return usagef("--manifest is for one archive, but --oci is for several: leave out one of them")
	}
	v, err := newVerifier(ctx, a, &o.verifyFlags)
	if err != nil {
		return err
	}
	defer v.close()
	defer o.choice.warn(a, containers(o.oci))
	if o.oci {
		return v.verifyImages(ctx, o, file)
	}
	archive, err := o.input.open(ctx, a, file, tarball.Options{Observe: v.progress.observer, EveryRecord: true, Filled: true})
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // opened for reading
	return v.verify(ctx, archive, a.newVerification("tar verify", file))
}
