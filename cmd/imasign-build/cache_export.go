package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

type cacheExportOptions struct {
	cache cacheFlag
	keys  cacheKeyFlags
	jobs  int
}

func newCacheExport(a *app) *cobra.Command {
	var o cacheExportOptions
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Export the signature cache to files that can be shared",
		Long: `Export writes the signatures of the cache to up to 256 files in DIR, and an index of them.
DIR need not exist. If it contains an earlier export, only files with new content are
written, and the index is replaced last, in one step. Files that the index no longer lists
are kept for a day, for hosts that have read the old index. The same signatures always give
the same files.

Serve DIR from a web server or a shared directory. Other build hosts use it with --cache-mirror
or "cache import". They need not trust it: every signature is verified before it is used.
Whoever can read DIR learns the public keys and the digests of all files that were signed,
but no names and no contents.

Export verifies each signature. Exit code 3 means that some are not valid; they are left out
of the export.`,
		Example: `  imasign-build cache export /srv/www/ima-signatures
  imasign-build cache export --cert keys/x509_ima.crt /srv/www/ima-signatures`,
		RunE: func(cmd *cobra.Command, args []string) error { return runCacheExport(cmd.Context(), a, o, args[0]) },
	}
	o.cache.add(cmd.Flags())
	o.keys.add(cmd.Flags(), "export")
	jobsVar(cmd.Flags(), &o.jobs, "signatures")
	return cmd
}

func runCacheExport(ctx context.Context, a *app, o cacheExportOptions, dir string) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	started := time.Now()
	of, err := o.keys.open(ctx)
	if err != nil {
		return err
	}
	c, err := o.cache.open(ctx, a)
	if err != nil {
		return err
	}
	defer c.close()
	if c.Store == nil {
		return fmt.Errorf("%s: %w", c.dir, errNoCache)
	}
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	r := report.CacheExport{Head: report.Head{Command: "cache export"}, Path: report.PathOf(dir)}
	progress := a.newProgress()
	defer progress.close()
	progress.begin("exported", "signatures", amount{items: stats.Entries})
	j := judge{jobs: o.jobs, progress: progress, report: &r.Signatures}
	summary, err := shards.Export(ctx, dir, j.valid(ctx, of.of(c.Entries(ctx), func() { progress.advance(0) })))
	progress.close()
	if err != nil {
		return err
	}
	r.Shards, r.Written, r.Size, r.Seconds = summary.Shards, summary.Written, summary.Bytes, time.Since(started).Seconds()
	if r.NotOK > 0 {
		err = errWrong
	}
	return a.print(&r, err)
}
