package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
)

func newCacheStats(a *app) *cobra.Command {
	var o cacheFlag
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what is in the signature cache, and how much space it takes",
		Long: `Stats prints how many signatures of each key are in the cache, when they were last used, and
how much space the cache takes. It stores public keys but no certificates, so the key ids are
those that evmctl computes. A certificate with its own subject key identifier gives its key
another id.`,
		Example: `  imasign-build cache stats
  imasign-build cache stats --cache /srv/imasign-cache --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCacheStats(cmd.Context(), a, o) },
	}
	o.add(cmd.Flags())
	return cmd
}

func runCacheStats(ctx context.Context, a *app, o cacheFlag) error {
	c, err := o.open(ctx, a)
	if err != nil {
		return err
	}
	defer c.close()
	r := report.CacheStats{Head: report.Head{Command: "cache stats"}, Path: report.PathOf(c.dir), Missing: c.Store == nil}
	if r.MirrorSize, err = sizeBelow(filepath.Join(c.dir, "mirror")); err != nil {
		return err
	}
	if c.Store == nil {
		return a.print(&r, nil)
	}
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	r.Signatures, r.Size, r.Limit = stats.Entries, stats.Bytes, stats.Limit
	for _, k := range stats.Keys {
		key := report.CacheKey{Signatures: k.Entries, Oldest: report.Day(k.Oldest), Newest: report.Day(k.Newest)}
		e := sigcache.Entry{Key: k.Key}
		if public, err := e.Public(); err == nil {
			key.KeyID, key.Algorithm = public.ID().String(), public.Algorithm()
		}
		r.Keys = append(r.Keys, key)
	}
	return a.print(&r, nil)
}

// sizeBelow returns the size in bytes of all files in a directory, which need not exist.
func sizeBelow(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // or no longer
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
