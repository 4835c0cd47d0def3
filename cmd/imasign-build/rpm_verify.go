package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

type rpmVerifyOptions struct {
	trust    trustFlags
	packages packageFlags
	choice   packageSelectFlags
	version  string // of the signatures that are accepted; "" for both

	allowEmpty bool
}

func newRPMVerify(a *app) *cobra.Command {
	var o rpmVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify PATH…",
		Short: "Verify the file signatures in packages",
		Long: `Verify checks that the file digests in each package have signatures that are valid for a
trusted certificate, that rpm will find the signatures, and that the package is complete.
--check files also compares the digests with the payload. PATH is a package, or a
directory whose *.rpm files at any depth are verified. Symbolic links are followed.

Verify prints a line for each package, with the numbers of files by verdict. It lists the
files themselves with --verbose, or if there is only one package.

Exit code 3 means that verification failed, or that no package had a file to verify. Exit
code 1 means that a file could not be read, or that a package is truncated or otherwise
broken.`,
		Example: `  imasign-build rpm verify --cert x509_ima.crt RPMS/`,
		RunE:    func(cmd *cobra.Command, args []string) error { return runRPMVerify(cmd.Context(), a, o, args) },
	}
	o.trust.add(cmd.Flags())
	purposeVar(cmd.Flags(), &o.trust.purpose)
	addAccept(cmd.Flags(), &o.version)
	o.packages.addRead(cmd.Flags())
	o.choice.add(cmd.Flags())
	o.choice.addRequire(cmd.Flags())
	addAllowEmpty(cmd.Flags(), &o.allowEmpty, "verify")
	return cmd
}

func runRPMVerify(ctx context.Context, a *app, o rpmVerifyOptions, paths []string) error {
	result := &report.PackageVerification{Head: report.Head{Command: "rpm verify"}}
	v, err := o.start(ctx, a, result)
	if err != nil {
		return err
	}
	defer v.progress.close()
	units, err := o.packages.units(paths)
	if err != nil && !errors.Is(err, errNoPackages) {
		return err
	}
	if err := v.run(ctx, units); err != nil {
		return err
	}
	return a.print(result, v.end(paths, o.allowEmpty))
}
