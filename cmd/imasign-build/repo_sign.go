package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newRepoSign(a *app) *cobra.Command {
	var (
		sign rpmSignOptions
		o    repoFlags
	)
	cmd := &cobra.Command{
		Use:   "sign DIR",
		Short: "Sign the files of all packages of a repository",
		Long: `Sign writes a complete repository beside DIR: every package with signed files, the
rest shared with DIR (hard links), metadata made anew by createrepo_c. It appears at
--output whole or not at all; --swap then exchanges it with DIR in one step, so that
packages and metadata agree at every moment. What somebody else changes in DIR
meanwhile is taken in, or the run fails and DIR stays. An interrupted run is
continued by the next one. DIR may have several repositories below it.

Packages that the metadata do not list are signed and published; --additions refuse
or leave says otherwise. Listed packages that are missing are named. Packages behind
symbolic links that lead out of DIR become signed copies.

Metadata that createrepo_c does not make are kept; package checksums in updateinfo and
susedata are brought up to date, and a warning names what may be stale. repomd.xml.asc
is made anew with --openpgp-key, which also signs every package, or left out with a
warning.`,
		Example: `  imasign-build repo sign --key x509_ima.key --cert x509_ima.crt -o /srv/repo.new --swap /srv/repo
  imasign-build repo sign --dry-run --key x509_ima.key --cert x509_ima.crt /srv/repo`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRepoSign(cmd.Context(), a, o, sign, args[0])
		},
	}
	o.add(cmd.Flags(), "signed")
	sign.add(cmd.Flags(), "each package and of repomd.xml")
	return cmd
}

func runRepoSign(ctx context.Context, a *app, o repoFlags, sign rpmSignOptions, dir string) error {
	if err := o.check(sign.packages.dryRun); err != nil {
		return err
	}
	s, err := sign.start(ctx, a)
	if err != nil {
		return err
	}
	defer s.close()
	s.repomd = s.signing.Options.OpenPGP
	return changeRepository(ctx, a, "repo sign", dir, &o, &sign.packages, s, sign.key.pass, sign.openpgp.pass)
}
