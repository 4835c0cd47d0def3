package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newRepoStrip(a *app) *cobra.Command {
	var (
		o        repoFlags
		packages packageFlags
		choice   packageSelectFlags
		openpgp  openPGPFlags
	)
	cmd := &cobra.Command{
		Use:   "strip DIR -o OUT|--in-place",
		Short: "Remove the file signatures from all packages of a repository",
		Long: `Strip writes a complete copy of the repository, as "repo sign" does, without the file
signatures in its packages. OpenPGP signatures of packages are kept and remain valid.
Files that are not selected keep their signatures.`,
		Example: `  imasign-build repo strip -o /srv/repo.new --swap /srv/repo`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRepoStrip(cmd.Context(), a, o, packages, choice, openpgp, args[0])
		},
	}
	o.add(cmd.Flags(), "stripped")
	packages.addSign(cmd.Flags())
	choice.add(cmd.Flags())
	choice.addSelect(cmd.Flags(), "strip")
	openpgp.add(cmd.Flags(), "repomd.xml")
	return cmd
}

func runRepoStrip(ctx context.Context, a *app, o repoFlags, packages packageFlags, choice packageSelectFlags, openpgp openPGPFlags, dir string) error {
	if err := o.check(packages.dryRun); err != nil {
		return err
	}
	c, err := newPackageStrip(a, "repo strip", &packages, &choice)
	if err != nil {
		return err
	}
	defer c.progress.close()
	repomd, err := openpgp.open(ctx, a)
	if err != nil {
		return err
	}
	return c.repository(ctx, dir, &o, packages.manifest, repomd)
}
