package main

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
)

type cachePruneOptions struct {
	cache  cacheFlag
	keys   cacheKeyFlags
	aged   bool // days was given
	days   int
	size   int64 // 0 if it was not given
	dryRun bool
}

func newCachePrune(a *app) *cobra.Command {
	var o cachePruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove signatures from the signature cache",
		Long: `Prune removes the signatures of the keys that --cert and --key-id name; without these
flags, those of all keys. With --older-than, it removes only those that have not been used for
so many days. With --max-size, it then removes the least recently used ones until the cache is
small enough. The space is returned to the file system.

A cache stays small without this: when it reaches its limit, which "cache stats" prints, it
drops the least recently used signatures.`,
		Example: `  imasign-build cache prune --older-than 90
  imasign-build cache prune --cert old/x509_ima.crt
  imasign-build cache prune --max-size 200M`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.aged = cmd.Flags().Changed("older-than")
			return runCachePrune(cmd.Context(), a, o)
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func (o *cachePruneOptions) add(flags *pflag.FlagSet) {
	o.cache.add(flags)
	o.keys.add(flags, "remove")
	flags.IntVar(&o.days, "older-than", 0, "remove only signatures that have not been used for more than `N` days")
	flags.Var(byteCount{&o.size}, "max-size", "at the end, remove the least recently used signatures until the cache has at most BYTES")
	annotate(flags, "max-size", noteDefault, "")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only count what would be removed; an estimate with --max-size")
}

func runCachePrune(ctx context.Context, a *app, o cachePruneOptions) error {
	switch {
	case o.days < 0:
		return usagef("--older-than %d: must be at least 0", o.days)
	case !o.aged && !o.keys.given() && o.size == 0:
		return usagef("say what to remove: --older-than N, --cert FILE, --key-id ID or --max-size BYTES")
	}
	drop, err := o.chosen(ctx)
	if err != nil {
		return err
	}
	c, err := o.cache.open(ctx, a)
	if err != nil {
		return err
	}
	defer c.close()
	r := report.CachePrune{Head: report.Head{Command: "cache prune"}, Path: report.PathOf(c.dir), DryRun: o.dryRun, Missing: c.Store == nil}
	switch {
	case r.Missing:
	case o.dryRun:
		err = o.count(ctx, c, drop, &r)
	default:
		err = o.prune(ctx, c, drop, &r)
	}
	if err != nil {
		return err
	}
	return a.print(&r, nil)
}

// chosen returns what is removed whatever its size. It is nil for nothing.
func (o *cachePruneOptions) chosen(ctx context.Context) (chosen, error) {
	if !o.aged && !o.keys.given() {
		return nil, nil
	}
	of, err := o.keys.open(ctx)
	if err != nil || !o.aged {
		return of, err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	oldest := today.AddDate(0, 0, -o.days) // of those that are kept
	return func(e *sigcache.Entry) bool { return e.Used.Before(oldest) && of(e) }, nil
}

func (o *cachePruneOptions) prune(ctx context.Context, c *cache, drop chosen, r *report.CachePrune) (err error) {
	if drop != nil {
		if r.Removed, err = c.Remove(ctx, drop); err != nil {
			return err
		}
	}
	before, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	n, err := c.Shrink(ctx, cmp.Or(o.size, before.Limit))
	if err != nil {
		return err
	}
	r.Removed += n
	after, err := c.Stats(ctx)
	r.Signatures, r.Size = after.Entries, after.Bytes
	return err
}

// count fills the report of a dry run.
func (o *cachePruneOptions) count(ctx context.Context, c *cache, drop chosen, r *report.CachePrune) error {
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	r.Signatures, r.Size = stats.Entries, stats.Bytes
	if drop != nil {
		for e, err := range c.Entries(ctx) {
			if err != nil {
				return err
			}
			if drop(&e) {
				r.Removed++
			}
		}
	}
	r.Signatures -= r.Removed
	if stats.Entries > 0 {
		each := float64(stats.Bytes) / float64(stats.Entries)
		r.Size -= int64(each * float64(r.Removed))
		if o.size > 0 && r.Size > o.size {
			n := min(int64(float64(r.Size-o.size)/each)+1, r.Signatures)
			r.Removed, r.Signatures, r.Size = r.Removed+n, r.Signatures-n, r.Size-int64(each*float64(n))
		}
	}
	return nil
}
