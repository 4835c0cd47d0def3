package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// repoFlags are where a changed repository goes, and what it lists.
type repoFlags struct {
	output        string
	swap, inPlace bool
	lists         listFlags
}

func (f *repoFlags) add(flags *pflag.FlagSet, result string) {
	flags.StringVarP(&f.output, "output", "o", "", "write the "+result+" repository to this `directory`, which must not exist")
	flags.BoolVar(&f.swap, "swap", false, "finally exchange the "+result+" repository with DIR, so that --output becomes the old one")
	flags.BoolVar(&f.inPlace, "in-place", false, "change DIR itself; clients fail until its metadata are regenerated")
	once(flags, "output")
	f.lists.add(flags)
}

func (f *repoFlags) check(dryRun bool) error {
	switch {
	case f.inPlace && (f.output != "" || f.swap):
		return usagef("--in-place writes nothing beside the repository: leave out --output and --swap")
	case !f.inPlace && f.output == "" && !dryRun:
		return usagef("where to? --output NEWDIR, with --swap to exchange it with DIR, or --in-place")
	}
	return f.lists.check()
}

// listFlags choose what is done about packages that the metadata do not list, and
// listed ones that are not there.
type listFlags struct{ additions, removals string }

func (f *listFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.additions, "additions", string(repo.Publish), "`what` to do with packages that the metadata do not list: publish (list them too), refuse (fail), or leave (keep them unsigned and unlisted)")
	flags.StringVar(&f.removals, "removals", string(repo.Publish), "`what` to do about listed packages that are missing: publish (drop them from the list) or refuse (fail)")
}

func (f *listFlags) check() error {
	switch repo.Choice(f.additions) {
	case repo.Publish, repo.Refuse, repo.Leave:
	default:
		return usagef("--additions %s: it is publish, refuse or leave", f.additions)
	}
	switch repo.Choice(f.removals) {
	case repo.Publish, repo.Refuse:
		return nil
	}
	return usagef("--removals %s: it is publish or refuse", f.removals)
}

// repository changes every package of a repository; repomd, unless nil, signs its metadata.
func (c *packageChange) repository(ctx context.Context, dir string, f *repoFlags, manifest string, repomd *rpmsign.OpenPGPKey) error {
	c.options.Share, c.resume, c.apart = true, true, !f.inPlace
	return c.do(ctx, manifest, func(ctx context.Context) error {
		c.progress.begin("reading the metadata", "", amount{})
		summary, err := repo.Sign(ctx, repo.Options{
			Dir: dir, Output: f.output, Swap: f.swap, InPlace: f.inPlace, Packages: c.ofRepository, DryRun: c.DryRun, OpenPGP: repomd, Jobs: c.jobs,
			Additions: repo.Choice(f.lists.additions), Removals: repo.Choice(f.lists.removals),
			Environment: c.childEnvironment(), Observe: c.progress.observer,
		})
		c.agree = summary.Agree
		c.result.Listing = listing(summary)
		return err
	})
}

// ofRepository is the repo.Loop over packages.
func (c *packageChange) ofRepository(ctx context.Context, units []rpmfiles.Unit, note func(repo.Outcome) bool, finish func(context.Context) error) error {
	c.Finish = func(ctx context.Context, _ operate.Totals) error {
		c.progress.begin("making the metadata", "", amount{})
		return finish(ctx)
	}
	return c.each(ctx, units, func(o *operate.Outcome) error {
		if !note(repo.Outcome{Path: o.Unit.Path, Changed: o.Change.Any, Err: o.Err}) {
			return nil
		}
		return c.take(o)
	})
}

func listing(s repo.Summary) report.Listing {
	return report.Listing{Repositories: s.Repositories, Added: s.Added, Removed: s.Removed, Left: s.Left}
}
