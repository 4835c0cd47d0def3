package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/input"
)

type repoVerifyOptions struct {
	rpmVerifyOptions

	signers string
}

func newRepoVerify(a *app) *cobra.Command {
	var o repoVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Verify the metadata, packages and file signatures of a repository",
		Long: `Verify checks what a client of the repository would download:

  metadata    it matches repomd.xml and agrees with itself
  packages    each one is listed, exists, and has the listed checksum, size and name
  files       each listed package passes "rpm verify"
  repomd.xml  with --openpgp-cert: one of the certificates in FILE signed it

DIR may contain several repositories. Exit code 3 means that verification failed, 1 that
something could not be read.`,
		Example: `  imasign-build repo verify --cert x509_ima.crt /srv/repo`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRepoVerify(cmd.Context(), a, o, args[0])
		},
	}
	o.trust.add(cmd.Flags())
	purposeVar(cmd.Flags(), &o.trust.purpose)
	addAccept(cmd.Flags(), &o.version)
	o.packages.addRead(cmd.Flags())
	o.choice.add(cmd.Flags())
	o.choice.addRequire(cmd.Flags())
	addAllowEmpty(cmd.Flags(), &o.allowEmpty, "verify")
	cmd.Flags().StringVar(&o.signers, "openpgp-cert", "", "require that repomd.xml is signed by an OpenPGP certificate (public key) in `FILE`")
	once(cmd.Flags(), "openpgp-cert")
	return cmd
}

func runRepoVerify(ctx context.Context, a *app, o repoVerifyOptions, dir string) error {
	result := &report.RepositoryVerification{PackageVerification: report.PackageVerification{Head: report.Head{Command: "repo verify"}}}
	v, err := o.start(ctx, a, &result.PackageVerification)
	if err != nil {
		return err
	}
	defer v.progress.close()
	signers, err := o.readSigners(ctx)
	if err != nil {
		return err
	}
	v.progress.repository()
	units, repositories, err := repo.Verify(ctx, repo.VerifyOptions{Dir: dir, Signers: signers, Jobs: v.jobs, Observe: v.progress.observer}, func(f repo.Finding) error {
		result.Find(f.Path, string(f.Flaw), f.Detail)
		return nil
	})
	if err != nil {
		return err
	}
	result.Repositories = repositories
	if err := v.run(ctx, units); err != nil {
		return err
	}
	err = v.end([]string{dir}, o.allowEmpty)
	if err == nil && result.Wrong > 0 {
		err = errWrong
	}
	return a.print(result, err)
}

// readSigners reads the certificates one of which must have signed repomd.xml. It returns
// nil if no file was named.
func (o *repoVerifyOptions) readSigners(ctx context.Context) (*repo.Signers, error) {
	if o.signers == "" {
		return nil, nil
	}
	const limit = 4 << 20
	text, err := input.ReadFile(ctx, o.signers, limit)
	if err != nil {
		return nil, err
	}
	signers, err := repo.ReadSigners(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.signers, err)
	}
	return signers, nil
}
