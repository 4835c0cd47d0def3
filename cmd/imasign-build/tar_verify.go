package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/tarball"
)

type tarVerifyOptions struct {
	trust    trustFlags
	engine   engineFlags
	choice   selectFlags
	input    tarInputFlags
	oci      bool
	manifest string

	allowEmpty bool
}

func newTarVerify(a *app) *cobra.Command {
	var o tarVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify IN",
		Short: "Verify the signatures in a tar archive",
		Long: `Verify checks that every regular file of the archive carries a signature by a
trusted certificate that holds for its content, and names each one that does not,
with the reason. It unpacks nothing. A digest without a signature is accepted only for
what --hashed names.

Exit code 3 means that verification failed or that there was no file to verify, 1 that
the archive could not be read.
` + patternHelp,
		Example: `  imasign-build tar verify --cert x509_ima.crt signed.tar.zst`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTarVerify(cmd.Context(), a, o, args[0])
		},
	}
	flags := cmd.Flags()
	o.trust.add(flags)
	o.engine.addJobs(flags)
	o.choice.add(flags)
	o.choice.addHashed(flags)
	o.choice.addRequire(flags)
	o.input.add(flags)
	addOCI(flags, &o.oci)
	flags.StringVar(&o.manifest, "manifest", "", "the archive must also be what this manifest `file` says")
	addAllowEmpty(flags, &o.allowEmpty, "verify")
	once(flags, "manifest")
	return cmd
}

func runTarVerify(ctx context.Context, a *app, o tarVerifyOptions, file string) error {
	if o.oci && o.manifest != "" {
		return usagef("--manifest holds one archive against a manifest, --oci names several")
	}
	if o.manifest != "" && o.choice.given() {
		return errManifestSelects
	}
	v, err := newVerifier(ctx, a, &o.trust, o.manifest, &o.engine)
	if err != nil {
		return err
	}
	defer v.close()
	if err := o.choice.compile(v.progress.observer); err != nil {
		return err
	}
	defer o.choice.warn(a, containers(o.oci))
	if o.oci {
		return runTarVerifyOCI(ctx, a, o, file, v)
	}
	archive, err := o.input.open(ctx, a, file, tarball.Options{Observe: v.progress.observer, EveryRecord: true, Filled: true})
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // opened for reading
	return v.verify(ctx, a, o.choice.wrap(archive), a.newVerification("tar verify", file), o.allowEmpty)
}
