package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/signing"
)

// reuseFlags say where signatures of earlier runs come from.
type reuseFlags struct {
	place     string   // "auto", "none", a directory, or "" for what IMASIGN_CACHE says
	mirrors   []string // of caches, to look up signatures in
	manifests []string // of earlier runs: files, and directories of files
}

func (f *reuseFlags) add(flags *pflag.FlagSet) {
	flags.Var((*cachePlace)(&f.place), "cache", "cache signatures for later runs: auto (only by keys in tokens, TPMs and signing services, in ~/.cache/imasign-build or the directory in "+cacheVariable+"), none or `DIR` (by all keys)")
	flags.StringArrayVar(&f.manifests, "from-manifest", nil, "reuse the signatures of files with the same digest from the manifest `PATH`, or from all *.jsonl files in the directory PATH")
	flags.StringArrayVar(&f.mirrors, "cache-mirror", nil, "if a cache is used, also look for signatures in the exported cache at `URL`, or in a directory")
	annotate(flags, "cache", noteDefault, cacheAuto)
	annotate(flags, "cache", noteEnvironment, cacheVariable)
	once(flags, "cache")
}

// check refuses combinations without effect. keyed reports whether the run has a key.
func (f *reuseFlags) check(keyed bool) error {
	switch {
	case len(f.manifests) > 0 && !keyed:
		return usagef("--from-manifest has no effect without --key")
	case len(f.mirrors) > 0 && f.place == cacheNone:
		return usagef("--cache-mirror has no effect with --cache none")
	}
	for _, name := range f.mirrors {
		if _, err := mirror.New(name, mirror.Options{}); err != nil {
			return usageError{fmt.Errorf("--cache-mirror: %w", err)}
		}
	}
	return nil
}

// Words that --cache and IMASIGN_CACHE take in place of a directory.
const (
	cacheAuto = "auto"
	cacheNone = "none"
)

// cachePlace is the value of --cache.
type cachePlace string

// String returns the value.
func (p *cachePlace) String() string { return string(*p) }

// Type is the type's name.
func (*cachePlace) Type() string { return "cache" }

// Set takes "auto", "none" or a directory.
func (p *cachePlace) Set(text string) error {
	if text == "" {
		return errors.New("choose auto, none or a directory")
	}
	*p = cachePlace(text)
	return nil
}

// completeCache completes the words that --cache takes, and names of directories.
func completeCache(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []cobra.Completion
	for _, o := range []option{{cacheAuto, "for keys in tokens, TPMs and signing services"}, {cacheNone, "no cache"}} {
		if strings.HasPrefix(o.word, word) {
			list = append(list, completions("", []option{o})...)
		}
	}
	if list == nil {
		return directories(nil, nil, word)
	}
	for _, name := range files("", word) {
		if strings.HasSuffix(name, "/") {
			list = append(list, name)
		}
	}
	return unfinished(list)
}

// signatureCache is the cache of a command, with its mirrors. It is opened when a key first
// needs it, and shared by all keys.
type signatureCache struct {
	app   *app
	flags *reuseFlags

	asked  bool
	caches []signing.Cache // none if the cache could not be opened
	opened []io.Closer
}

// of returns the caches that signatures of a key are looked for in.
func (c *signatureCache) of(ctx context.Context, key *keystore.Key) []signing.Cache {
	auto := c.place() == cacheAuto
	if c.place() == cacheNone || auto && !key.Slow {
		return nil
	}
	if !c.asked {
		c.asked = true
		if err := c.open(ctx, auto); err != nil {
			c.app.warn(fmt.Sprintf("signing without a cache: %v", c.app.advise(err)))
		}
	}
	return c.caches
}

// place returns "auto", "none", or the directory of a cache for all keys.
func (c *signatureCache) place() string {
	if value, _ := c.app.getenv(cacheVariable); c.flags.place == "" && value == cacheNone {
		return cacheNone
	}
	return cmp.Or(c.flags.place, cacheAuto)
}

func (c *signatureCache) open(ctx context.Context, auto bool) error {
	dir := c.flags.place
	if auto {
		var err error
		if dir, err = c.autoDirectory(); err != nil {
			return err
		}
	}
	store, err := sigcache.Open(ctx, dir, sigcache.Options{Warn: c.app.warn})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make its parent directory first", err)
	case err != nil:
		return err
	}
	c.caches, c.opened = append(c.caches, store), append(c.opened, store)
	for _, name := range c.flags.mirrors {
		m, err := mirror.New(name, mirror.Options{Cache: dir, Warn: c.app.warn})
		if err != nil {
			return err
		}
		c.caches, c.opened = append(c.caches, m), append(c.opened, m)
	}
	return nil
}

// autoDirectory returns the directory of the cache that "auto" means. It makes those above it.
func (c *signatureCache) autoDirectory() (dir string, err error) {
	switch dir, _ = c.app.getenv(cacheVariable); dir {
	case "", cacheAuto, cacheNone:
		if dir, err = cacheDirectory(c.app); err == nil {
			err = makeAbove(c.app, dir)
		}
		return dir, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", fmt.Errorf("cache %s: %w", dir, err)
	}
	return dir, nil
}

// close ends the use of the cache.
func (c *signatureCache) close() {
	for _, one := range c.opened {
		if err := one.Close(); err != nil {
			c.app.warn(err.Error())
		}
	}
}
