package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/internal/atomicfile"
)

// maxMirror limits the size of all shards of one mirror in bytes, and so what is kept of it.
const maxMirror = 4 << 30

// errOff means that something was wrong with the server earlier.
var errOff = errors.New("it is no longer used")

// web is a mirror on a web server.
type web struct {
	base   *url.URL      // without user and password
	user   *url.Userinfo // nil if the URL has none
	keep   string        // directory of fetched files
	client *http.Client
	limits limits
	busy   chan struct{} // limits the number of requests at the same time
	clock  clock
	off    atomic.Bool // the server is not asked any more
}

func newWeb(u *url.URL, cache string) *web {
	base := *u
	base.User = nil
	sum := sha256.Sum256([]byte(base.String()))
	w := &web{
		base: &base, user: u.User, limits: defaultLimits(), busy: make(chan struct{}, parallel),
		keep: filepath.Join(cache, "mirror", fmt.Sprintf("%x", sum[:16])),
	}
	w.client = newClient(w.base)
	return w
}

func (w *web) close() error {
	w.client.CloseIdleConnections()
	return nil
}

// index asks the server for an index that differs from the kept one, and keeps it.
func (w *web) index(ctx context.Context) (shards.Index, error) {
	if err := os.MkdirAll(w.keep, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for what is fetched: %w", err)
	}
	text, tag := w.kept()
	kept, err := shards.ParseIndex(text)
	if err != nil {
		kept, tag = nil, "" // it is replaced
	}
	newer, err := w.fetchIndex(ctx, kept, tag)
	if err != nil {
		if ctx.Err() == nil {
			w.off.Store(true)
		}
		return kept, err
	}
	return newer, nil
}

func (w *web) fetchIndex(ctx context.Context, kept shards.Index, tag string) (shards.Index, error) {
	if w.off.Load() {
		return nil, errOff
	}
	header := http.Header{"Cache-Control": {"no-cache"}} // proxies ask the server
	if tag != "" {
		header.Set("If-None-Match", tag)
	}
	var x shards.Index
	err := w.get(ctx, shards.IndexName, header, func(r *http.Response, body io.Reader) error {
		if r.StatusCode == http.StatusNotModified && tag != "" {
			x = kept
			return nil
		}
		if err := accepted(r); err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(body, shards.MaxIndex+1))
		if err != nil {
			return err
		}
		if x, err = shards.ParseIndex(text); err != nil {
			return err
		}
		if n := x.Bytes(); n > maxMirror {
			return fmt.Errorf("its shards have %d bytes, more than %d", n, int64(maxMirror))
		}
		return w.keepIndex(text, r.Header.Get("ETag"), x)
	})
	return x, err
}

// shard returns a kept shard, or fetches and keeps it.
func (w *web) shard(ctx context.Context, s *shards.Shard) (*os.File, error) {
	if f, err := w.keptShard(s); err == nil {
		return f, nil
	}
	if w.off.Load() {
		return nil, errOff
	}
	err := w.get(ctx, s.Name(), nil, func(r *http.Response, body io.Reader) error {
		if r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusGone {
			return fmt.Errorf("%w on the server", fs.ErrNotExist)
		}
		if err := accepted(r); err != nil {
			return err
		}
		if r.ContentLength >= 0 && r.ContentLength != s.Size {
			return fmt.Errorf("%w: %d bytes, not %d", shards.ErrDamaged, r.ContentLength, s.Size)
		}
		return w.keepShard(s, body)
	})
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) {
			w.off.Store(true)
		}
		return nil, err
	}
	return w.keptShard(s)
}

func (w *web) drop(s *shards.Shard) {
	_ = os.Remove(filepath.Join(w.keep, s.Name())) // if it stays, it is reported again
}

func (w *web) keptShard(s *shards.Shard) (*os.File, error) {
	dir, err := shards.Open(w.keep)
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	return dir.Shard(s)
}

// keepShard stores the content of a shard, if it is what the index states.
func (w *web) keepShard(s *shards.Shard, body io.Reader) error {
	f, err := atomicfile.Create(filepath.Join(w.keep, s.Name()), 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	sum := sha256.New()
	n, err := io.Copy(f, io.TeeReader(io.LimitReader(body, s.Size+1), sum))
	switch {
	case err != nil:
		return err
	case n != s.Size:
		return fmt.Errorf("%w: not %d bytes", shards.ErrDamaged, s.Size)
	case [sha256.Size]byte(sum.Sum(nil)) != s.SHA256:
		return fmt.Errorf("%w: its SHA-256 digest is not that in its name", shards.ErrDamaged)
	}
	return f.Commit()
}
