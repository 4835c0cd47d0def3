package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/repo"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

type repoSignOptions struct {
	sign          rpmSignOptions
	output        string
	swap, inPlace bool
}

func newRepoSign(a *app) *cobra.Command {
	var o repoSignOptions
	cmd := &cobra.Command{
		Use:   "sign DIR",
		Short: "Sign the files of all packages of a repository",
		Long: `Sign writes a complete repository beside DIR: every package with signed files, the
rest shared with DIR (hard links), metadata made anew by createrepo_c with the
groups, modules and updateinfo that were there. It appears at --output whole or not
at all; --swap then exchanges it with DIR in one step, so that packages and metadata
agree at every moment. An interrupted run is gone on with by the next one.

repomd.xml.asc is made anew with --openpgp-key, which also signs every package, or
left out with a warning.`,
		Example: `  imasign-build repo sign --key x509_ima.key --cert x509_ima.crt -o /srv/repo.new --swap /srv/repo
  imasign-build repo sign --dry-run --key x509_ima.key --cert x509_ima.crt /srv/repo`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runRepoSign(cmd.Context(), a, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "write the signed repository to this `directory`, which must not exist")
	flags.BoolVar(&o.swap, "swap", false, "exchange the signed repository with DIR in the end: --output is the old one then")
	flags.BoolVar(&o.inPlace, "in-place", false, "sign below DIR itself: clients fail until the metadata are made anew")
	once(flags, "output")
	o.sign.add(flags, "each package and of repomd.xml")
	return cmd
}

func (o *repoSignOptions) check() error {
	switch {
	case o.inPlace && (o.output != "" || o.swap):
		return usagef("--in-place writes nothing beside the repository: leave out --output and --swap")
	case !o.inPlace && o.output == "" && !o.sign.packages.dryRun:
		return usagef("where to? --output NEWDIR, with --swap to exchange it with DIR, or --in-place")
	}
	return nil
}

func runRepoSign(ctx context.Context, a *app, o repoSignOptions, dir string) error {
	if err := o.check(); err != nil {
		return err
	}
	s, err := o.sign.start(ctx, a)
	if err != nil {
		return err
	}
	defer s.close()
	s.signing.Options.Share = true
	run := &packageChange{app: a, Command: "repo sign"}
	return run.do(ctx, &o.sign.packages, s, func(ctx context.Context, take func(rpmsign.Result) error) error {
		return repo.Sign(ctx, repo.Options{
			Dir: dir, Output: o.output, Swap: o.swap, InPlace: o.inPlace, Signing: s.signing, Jobs: o.sign.packages.parallel(),
			Environment: withoutSecrets(os.Environ(), o.sign.key.pass, o.sign.openpgp.pass), Observe: s.progress.observer,
		}, take)
	})
}
