package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

// errNoExport means that a directory has no signatures to be imported.
var errNoExport = errors.New("neither an export nor a cache")

// source has signatures to be imported.
type source struct {
	entries iter.Seq2[sigcache.Entry, error]
	total   int64 // 0 if it is not known
	close   func()
}

// openSources opens exports, and directories of other caches, for an import into the cache
// in dir. It returns those that it has opened with the error.
func openSources(ctx context.Context, a *app, dir string, names []string) (list []source, err error) {
	for _, name := range names {
		s, err := openSource(ctx, a, dir, name)
		if err != nil {
			return list, err
		}
		list = append(list, s)
	}
	return list, nil
}

func closeSources(list []source) {
	for _, s := range list {
		s.close()
	}
}

// openSource opens one of them. What it will fetch is kept in the cache, so that the next
// import fetches only what has changed.
func openSource(ctx context.Context, a *app, dir, name string) (s source, err error) {
	m, err := mirror.New(name, mirror.Options{Cache: dir, Warn: a.warn})
	if err != nil {
		return s, usageError{err}
	}
	fetched := source{entries: m.Entries(ctx), close: func() { _ = m.Close() }} // opened for reading
	path := m.String()
	if strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://") {
		return fetched, nil
	}
	switch _, err = os.Stat(path); {
	case err != nil:
		return s, fmt.Errorf("import signatures: %w", err)
	case exists(filepath.Join(path, sigcache.File)):
		return cacheSource(ctx, a, dir, path)
	case !isDirectory(path):
		return s, &fs.PathError{Op: "import signatures", Path: path, Err: syscall.ENOTDIR}
	case !exists(filepath.Join(path, shards.IndexName)):
		return s, fmt.Errorf("%s: %w: there is no %s and no %s in it", path, errNoExport, shards.IndexName, sigcache.File)
	}
	return fetched, nil
}

func cacheSource(ctx context.Context, a *app, to, dir string) (s source, err error) {
	if sameDirectory(dir, to) {
		return s, usagef("%s is the cache itself", dir)
	}
	c, err := openCache(ctx, a, dir, sigcache.Options{Existing: true, Keep: true})
	if err != nil {
		return s, err
	}
	stats, err := c.Stats(ctx)
	if err != nil {
		c.close()
		return s, err
	}
	return source{c.Entries(ctx), stats.Entries, c.close}, nil
}

func sameDirectory(a, b string) bool {
	one, err := os.Stat(a)
	other, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(one, other)
}
