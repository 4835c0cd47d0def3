package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

type repoRefreshOptions struct {
	lists   listFlags
	openpgp openPGPFlags
	jobs    int
}

func newRepoRefresh(a *app) *cobra.Command {
	var o repoRefreshOptions
	cmd := &cobra.Command{
		Use:   "refresh DIR",
		Short: "Regenerate the metadata of a repository from its packages",
		Long: `Refresh regenerates the metadata of DIR with createrepo_c. Use it after packages were
replaced, or signed in place by "rpm sign" or "manifest apply". It reads every package,
whatever the old metadata says, and changes no package. The metadata of each repository
in DIR and below is replaced in one step.

Refresh treats checksums in updateinfo and susedata, added and missing packages, and
repomd.xml.asc as "repo sign" does.`,
		Example: `  imasign-build rpm sign --key x509_ima.key --cert x509_ima.crt /srv/repo
  imasign-build repo refresh /srv/repo`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRepoRefresh(cmd.Context(), a, o, args[0])
		},
	}
	o.lists.add(cmd.Flags())
	o.openpgp.add(cmd.Flags(), "repomd.xml")
	jobsVar(cmd.Flags(), &o.jobs, "packages")
	return cmd
}

func runRepoRefresh(ctx context.Context, a *app, o repoRefreshOptions, dir string) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	key, err := o.openpgp.open(ctx, a)
	if err != nil {
		return err
	}
	progress, started := a.newProgress(), time.Now()
	defer progress.close()
	progress.begin("making the metadata", "", amount{})
	summary, err := repo.Refresh(ctx, repo.Options{
		Dir: dir, OpenPGP: key, Jobs: o.jobs, Additions: repo.Choice(o.lists.additions), Removals: repo.Choice(o.lists.removals),
		Environment: a.childEnvironment(), Observe: progress.observer,
	})
	progress.close()
	if err != nil {
		return err
	}
	return a.print(&report.Refresh{Head: report.Head{Command: "repo refresh"}, Seconds: time.Since(started).Seconds(), Listing: listing(summary)}, nil)
}
