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

// repoFlags say where a changed repository goes, and what it lists.
type repoFlags struct {
	output        string
	swap, inPlace bool
	lists         listFlags
}

func (f *repoFlags) add(flags *pflag.FlagSet, result string) {
	flags.StringVarP(&f.output, "output", "o", "", "write the "+result+" repository to `OUT`, a new directory")
	flags.BoolVar(&f.swap, "swap", false, "at the end, exchange DIR with OUT, which is then the old repository")
	flags.BoolVar(&f.inPlace, "in-place", false, "change DIR itself; clients fail until its metadata is regenerated")
	once(flags, "output")
	f.lists.add(flags)
}

func (f *repoFlags) check(dryRun bool) error {
	switch {
	case f.inPlace && (f.output != "" || f.swap):
		return usagef("--in-place changes DIR itself: leave out --output and --swap")
	case !f.inPlace && f.output == "" && !dryRun:
		return usagef("no output was given: -o OUT, with --swap to exchange it with DIR, or --in-place")
	}
	return nil
}

// listFlags say what to do about packages that the metadata does not list, and about listed
// packages that are missing.
type listFlags struct{ additions, removals string }

func (f *listFlags) add(flags *pflag.FlagSet) {
	publish, refuse, leave := string(repo.Publish), string(repo.Refuse), string(repo.Leave)
	choiceVar(flags, &f.additions, "additions", publish, "what to do with packages that the metadata does not list", []option{
		{publish, "list them"}, {refuse, "fail"}, {leave, "keep them unsigned and unlisted"},
	})
	choiceVar(flags, &f.removals, "removals", publish, "what to do if listed packages are missing", []option{
		{publish, "no longer list them"}, {refuse, "fail"},
	})
}

// repository changes every package of a repository. repomd signs the metadata unless it is
// nil.
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

// ofRepository is a repo.Loop that changes packages.
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
