package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

type cacheImportOptions struct {
	cache cacheFlag
	keys  cacheKeyFlags
	jobs  int
}

func newCacheImport(a *app) *cobra.Command {
	var o cacheImportOptions
	cmd := &cobra.Command{
		Use:   "import DIR…",
		Short: "Store the signatures of an export in the signature cache",
		Long: `Import stores the signatures of each DIR in the cache, which it makes if there is none. DIR
is a directory that "cache export" wrote, or that of another cache. Signatures that the cache
has already stay as they are.

Each signature is verified with the public key that is stored with it. Exit code 3 means
that some are not valid; only the others are stored. Anybody can make a key and valid
signatures with it, which take space, but are never used to sign with another key. With
--cert, only signatures of your key are stored.

If import fails or is interrupted, what it stored before stays in the cache.`,
		Example: `  imasign-build cache import --cert keys/x509_ima.crt /mnt/ima-signatures
  imasign-build cache import --cache /srv/imasign-cache host1/ host2/`,
		RunE: func(cmd *cobra.Command, args []string) error { return runCacheImport(cmd.Context(), a, o, args) },
	}
	o.cache.add(cmd.Flags())
	o.keys.add(cmd.Flags(), "import")
	jobsVar(cmd.Flags(), &o.jobs, "signatures")
	return cmd
}

func runCacheImport(ctx context.Context, a *app, o cacheImportOptions, from []string) error {
	if o.jobs < 0 {
		return usagef("--jobs %d: must be at least 1", o.jobs)
	}
	started := time.Now()
	of, err := o.keys.open(ctx)
	if err != nil {
		return err
	}
	c, err := o.cache.make(ctx, a)
	if err != nil {
		return err
	}
	defer c.close()
	r := report.CacheImport{Head: report.Head{Command: "cache import"}, Path: report.PathOf(c.dir)}
	progress := a.newProgress()
	defer progress.close()
	j := judge{jobs: o.jobs, progress: progress, report: &r.Signatures}
	for _, name := range from {
		if err = importFrom(ctx, a, c, &j, name, of, &r); err != nil {
			break
		}
	}
	progress.close()
	r.Seconds = time.Since(started).Seconds()
	if err == nil && r.NotOK > 0 {
		err = errWrong
	}
	err = a.print(&r, err)
	if err != nil && !errors.Is(err, errWrong) && r.Added > 0 {
		a.note("before this, %s signatures were stored; import continues where it ended", report.Count(r.Added))
	}
	return err
}

// importFrom stores the chosen signatures of an export or another cache.
func importFrom(ctx context.Context, a *app, c *cache, j *judge, name string, of chosen, r *report.CacheImport) error {
	source, err := openSource(ctx, a, name)
	if err != nil {
		return err
	}
	defer source.close()
	if same, err := sameDirectory(name, c.dir); err != nil || same {
		return errors.Join(err, usagef("%s is the cache itself", name))
	}
	j.progress.begin("imported", "signatures", amount{items: source.total})
	before := r.OK
	skip := func() {
		r.Skipped++
		j.progress.advance(0)
	}
	added, err := c.Add(ctx, j.valid(ctx, of.of(source.entries, skip)))
	r.Added += added
	if err != nil {
		return err
	}
	r.Unchanged += r.OK - before - added
	return nil
}

func sameDirectory(a, b string) (bool, error) {
	one, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other), err
}

// source has signatures to be imported.
type source struct {
	entries iter.Seq2[sigcache.Entry, error]
	total   int64
	close   func()
}

// openSource opens an export, or the directory of a cache.
func openSource(ctx context.Context, a *app, name string) (*source, error) {
	_, err := os.Stat(filepath.Join(name, sigcache.File))
	if err == nil {
		return cacheSource(ctx, a, name)
	}
	dir, err := shards.Open(name)
	if err != nil {
		return nil, err
	}
	index, err := dir.Index()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: neither an export nor a cache: there is no %s and no %s in it: %w", name, shards.IndexName, sigcache.File, fs.ErrNotExist)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	s := source{close: func() { _ = dir.Close() }} // opened for reading
	for i := range index {
		s.total += index[i].Entries
	}
	s.entries = func(yield func(sigcache.Entry, error) bool) {
		for i := range index {
			if !shardEntries(dir, &index[i], name, yield) {
				return
			}
		}
	}
	return &s, nil
}

// shardEntries yields the entries of a shard. It returns false after an error, and when
// nobody wants more.
func shardEntries(dir *shards.Dir, s *shards.Shard, name string, yield func(sigcache.Entry, error) bool) bool {
	f, err := dir.Shard(s)
	if err != nil {
		return yield(sigcache.Entry{}, err) && false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	for e, err := range shards.Entries(f, s) {
		if err != nil {
			err = fmt.Errorf("read %s: %w", filepath.Join(name, s.Name()), err)
		}
		if !yield(e, err) || err != nil {
			return false
		}
	}
	return true
}

func cacheSource(ctx context.Context, a *app, dir string) (*source, error) {
	c, err := openCache(ctx, a, dir, sigcache.Options{Existing: true, Keep: true})
	if err != nil {
		return nil, err
	}
	stats, err := c.Stats(ctx)
	if err != nil {
		c.close()
		return nil, err
	}
	return &source{c.Entries(ctx), stats.Entries, c.close}, nil
}
