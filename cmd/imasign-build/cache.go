package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
)

// cacheVariable names the place of the cache, as --cache does.
const cacheVariable = "IMASIGN_CACHE"

// errNoCache means that a directory has no cache in it.
var errNoCache error = noCacheError{}

type noCacheError struct{}

func (noCacheError) Error() string { return "no signature cache" }
func (noCacheError) Unwrap() error { return fs.ErrNotExist }

// cacheDirectory returns the directory of the cache that nobody has to name:
// $XDG_CACHE_HOME/imasign-build, or ~/.cache/imasign-build.
func cacheDirectory(a *app) (string, error) {
	if dir, _ := a.getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) { // the specification ignores others
		return filepath.Join(dir, "imasign-build"), nil
	}
	home, _ := a.getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("there is no place for the signature cache: neither XDG_CACHE_HOME nor HOME is an absolute path")
	}
	return filepath.Join(home, ".cache", "imasign-build"), nil
}

// makeAbove makes the directories above the cache that nobody named. It makes no home directory,
// and nothing in that of another user, which HOME names after some kinds of sudo: what root
// made there would be in the way of its owner, who could also replace it.
func makeAbove(a *app, dir string) error {
	home, _ := a.getenv("HOME")
	if base, _ := a.getenv("XDG_CACHE_HOME"); filepath.IsAbs(base) {
		for home = base; !exists(home) && home != "/"; {
			home = filepath.Dir(home)
		}
	}
	info, err := os.Stat(home)
	if err != nil {
		return fmt.Errorf("there is no place for the signature cache (%s names another one): %w", cacheVariable, err)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != 0 && owner != os.Geteuid() {
		return fmt.Errorf("there is no place for the signature cache (%s names another one): %s belongs to user %d: %w", cacheVariable, home, owner, sigcache.ErrUnsafe)
	}
	return os.MkdirAll(filepath.Dir(dir), 0o700)
}

// cacheFlag names the cache that a command is about.
type cacheFlag struct{ dir string }

func (f *cacheFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "cache", "", "the cache is in the directory `DIR`")
	annotate(flags, "cache", noteEnvironment, cacheVariable)
	annotate(flags, "cache", noteDefault, "$XDG_CACHE_HOME/imasign-build or ~/.cache/imasign-build")
	once(flags, "cache")
}

// cache is a cache that a command works on.
type cache struct {
	*sigcache.Store // nil if there is none yet

	dir string
}

// place returns the directory of the cache, and whether the user named it. The words that
// the flag has when files are signed mean the same here.
func (f *cacheFlag) place(a *app) (dir string, named bool, err error) {
	variable, _ := a.getenv(cacheVariable)
	switch {
	case f.dir == cacheNone:
		return "", false, usagef("--cache %s: name the directory of a cache", cacheNone)
	case f.dir == "" && variable == cacheNone:
		return "", false, usagef("%s is %s: name a cache with --cache DIR", cacheVariable, cacheNone)
	case f.dir != "" && f.dir != cacheAuto:
		return f.dir, true, nil
	case variable != "" && variable != cacheNone && variable != cacheAuto:
		return variable, true, nil
	}
	dir, err = cacheDirectory(a)
	return dir, false, err
}

// open opens an existing cache as it is, even if it is damaged. Without a cache in the
// directory that nobody named, there are no signatures yet: that is no error, and the cache
// has no Store.
func (f *cacheFlag) open(ctx context.Context, a *app) (*cache, error) {
	dir, named, err := f.place(a)
	if err != nil {
		return nil, err
	}
	switch err := existing(dir); {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return &cache{dir: dir}, nil
	case err != nil:
		return nil, err
	}
	return openCache(ctx, a, dir, sigcache.Options{Existing: true, Keep: true})
}

// make opens a cache, and makes it if there is none, also the directories above it if nobody
// named it.
func (f *cacheFlag) make(ctx context.Context, a *app) (*cache, error) {
	dir, named, err := f.place(a)
	if err == nil && !named {
		err = makeAbove(a, dir)
	}
	if err != nil {
		return nil, err
	}
	return openCache(ctx, a, dir, sigcache.Options{Keep: true})
}

func openCache(ctx context.Context, a *app, dir string, o sigcache.Options) (*cache, error) {
	o.Warn = a.warn
	store, err := sigcache.Open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return &cache{store, dir}, nil
}

// existing returns an error that wraps fs.ErrNotExist if there is no cache in a directory.
func existing(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("find the signature cache: %w", err)
	case !info.IsDir():
		return &fs.PathError{Op: "open cache", Path: dir, Err: syscall.ENOTDIR}
	}
	_, err = os.Stat(filepath.Join(dir, sigcache.File))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: there is no %s in it", dir, errNoCache, sigcache.File)
	}
	return err
}

// close ends the use of the cache.
func (c *cache) close() {
	if c.Store != nil {
		_ = c.Close() // everything was committed before
	}
}
