package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
)

type cacheVerifyOptions struct {
	cache  cacheFlag
	remove bool
	jobs   int
}

func newCacheVerify(a *app) *cobra.Command {
	var o cacheVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify every signature in the signature cache",
		Long: `Verify reads the whole database and verifies each signature with the public key that is
stored with it. It changes nothing. With --remove, it removes the signatures that are not
valid, and replaces a damaged database with an empty one.

Signing does not depend on this: it verifies each signature from the cache before it uses
it, and replaces those that are not valid.

Exit code 3 means that something was wrong, even if it was removed.`,
		Example: `  imasign-build cache verify
  imasign-build cache verify --remove --cache /srv/imasign-cache`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCacheVerify(cmd.Context(), a, o) },
	}
	o.cache.add(cmd.Flags())
	cmd.Flags().BoolVar(&o.remove, "remove", false, "remove what is wrong")
	jobsVar(cmd.Flags(), &o.jobs, "signatures")
	return cmd
}

func runCacheVerify(ctx context.Context, a *app, o cacheVerifyOptions) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	started := time.Now()
	r := report.CacheCheck{Head: report.Head{Command: "cache verify"}}
	progress := a.newProgress()
	defer progress.close()
	err := o.verify(ctx, a, progress, &r)
	progress.close()
	if err != nil {
		return err
	}
	r.Seconds = time.Since(started).Seconds()
	if r.Wrong() {
		err = errWrong
	}
	err = a.print(&r, err)
	if r.Wrong() && !o.remove {
		a.note("nothing was changed: --remove removes what is wrong")
	}
	return err
}

// verify examines the cache. A damaged database is not read any further.
func (o *cacheVerifyOptions) verify(ctx context.Context, a *app, p *progress, r *report.CacheCheck) error {
	c, err := o.cache.open(ctx, a)
	if err == nil {
		r.Path, r.Missing = report.PathOf(c.dir), c.Store == nil
		if r.Missing {
			return nil
		}
		defer c.close()
		err = c.Check(ctx)
	}
	if err == nil {
		err = o.signatures(ctx, c, p, r)
	}
	if !errors.Is(err, sigcache.ErrDamaged) {
		return err
	}
	r.Damage = err.Error()
	dir, _, err := o.cache.place(a)
	r.Path = report.PathOf(dir)
	if err != nil || !o.remove {
		return err
	}
	return startAnew(ctx, a, dir)
}

// signatures verifies all signatures.
func (o *cacheVerifyOptions) signatures(ctx context.Context, c *cache, p *progress, r *report.CacheCheck) error {
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	p.begin("verified", "signatures", amount{items: stats.Entries})
	j := judge{jobs: o.jobs, progress: p, report: &r.Signatures}
	for _, err := range j.valid(ctx, c.Entries(ctx)) {
		if err != nil {
			return err
		}
	}
	if o.remove && r.NotOK > 0 { // which are verified again: another process may have replaced them
		r.Removed, err = c.Remove(ctx, func(e *sigcache.Entry) bool { return e.Verify() != nil })
	}
	return err
}

// startAnew replaces a damaged database by an empty one, with a warning.
func startAnew(ctx context.Context, a *app, dir string) error {
	c, err := openCache(ctx, a, dir, sigcache.Options{Existing: true})
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.Check(ctx); !errors.Is(err, sigcache.ErrDamaged) { // which it reports once more
		return err
	}
	return nil
}
