package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

type cacheImportOptions struct {
	cache cacheFlag
	keys  cacheKeyFlags
	jobs  int
}

func newCacheImport(a *app) *cobra.Command {
	var o cacheImportOptions
	cmd := &cobra.Command{
		Use:   "import DIR|URL…",
		Short: "Import signatures from an export or another cache",
		Long: `Import stores signatures in the cache, which it creates if necessary. DIR is a directory that
"cache export" wrote, or another cache. URL (https, http or file) is an export on a web server.
Fetched files are kept in the cache, so that the next import fetches only what has changed.
Signatures that are already in the cache are not replaced.

Each signature is verified with the public key that is stored with it. Exit code 3 means
that some are not valid; they are left out. Anybody can make a key and valid signatures with
it. These take space, but are never used for another key. With --cert, only signatures by your
key are stored.

If an import fails or is interrupted, what it has stored stays in the cache.`,
		Example: `  imasign-build cache import --cert keys/x509_ima.crt /mnt/ima-signatures
  imasign-build cache import --cert keys/ https://build.example/ima-signatures
  imasign-build cache import --cache /srv/imasign-cache host1/ host2/`,
		RunE: func(cmd *cobra.Command, args []string) error { return runCacheImport(cmd.Context(), a, o, args) },
	}
	o.cache.add(cmd.Flags())
	o.keys.add(cmd.Flags(), "import")
	jobsVar(cmd.Flags(), &o.jobs, "signatures")
	return cmd
}

func runCacheImport(ctx context.Context, a *app, o cacheImportOptions, from []string) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	started := time.Now()
	of, err := o.keys.open(ctx)
	if err != nil {
		return err
	}
	dir, _, err := o.cache.place(a)
	if err != nil {
		return err
	}
	sources, err := openSources(ctx, a, dir, from)
	defer closeSources(sources)
	if err != nil {
		return err
	}
	c, err := o.cache.make(ctx, a)
	if err != nil {
		return err
	}
	defer c.close()
	r := report.CacheImport{Head: report.Head{Command: "cache import"}, Path: report.PathOf(dir)}
	progress := a.newProgress()
	defer progress.close()
	j := judge{jobs: o.jobs, progress: progress, report: &r.Signatures}
	for i := range sources {
		if err = importFrom(ctx, c, &j, &sources[i], of, &r); err != nil {
			break
		}
	}
	progress.close()
	r.Seconds = time.Since(started).Seconds()
	switch {
	case err != nil && r.Added == 0:
		return err
	case err == nil && r.NotOK > 0:
		err = errWrong
	}
	return a.print(&r, err)
}

// importFrom stores the chosen signatures of an export or another cache.
func importFrom(ctx context.Context, c *cache, j *judge, s *source, of chosen, r *report.CacheImport) error {
	j.progress.begin("imported", "signatures", amount{items: s.total})
	before := r.OK
	skip := func() {
		r.Skipped++
		j.progress.advance(0)
	}
	added, err := c.Add(ctx, j.valid(ctx, of.of(s.entries, skip)))
	r.Added += added
	if err != nil {
		return err
	}
	r.Unchanged += r.OK - before - added
	return nil
}
