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
		Use:   "sign DIR -o OUT|--in-place",
		Short: "Sign the files of all packages of a repository",
		Long: `Sign writes a complete copy of the repository DIR. The files in every package are signed,
createrepo_c regenerates the metadata, and all other files are hard links to those in
DIR. The copy appears at OUT when it is complete. --swap then exchanges it with DIR
in one step, so that packages and metadata agree at every moment.

If DIR changes in the meantime, the run includes the changes, or it fails and leaves DIR
as it is. If a run is interrupted, the next run continues it. DIR may contain several
repositories.

Packages that the metadata does not list are signed and listed, unless --additions says
otherwise. Missing packages are reported. Packages behind symbolic links that lead out of
DIR become signed copies.

Metadata that createrepo_c does not generate is kept. Package checksums in updateinfo and
susedata are updated, and a warning names metadata that may be stale. --openpgp-key signs
every package and repomd.xml. Without it, repomd.xml.asc is left out, with a warning.
Files that are not selected keep their signatures.`,
		Example: `  imasign-build repo sign --key x509_ima.key --cert x509_ima.crt \
      -o /srv/repo.new --swap /srv/repo
  imasign-build repo sign --dry-run --key x509_ima.key --cert x509_ima.crt /srv/repo`,
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
	s, err := sign.start(ctx, a, "repo sign")
	if err != nil {
		return err
	}
	defer s.close()
	return s.repository(ctx, dir, &o, sign.packages.manifest, s.options.OpenPGP)
}
