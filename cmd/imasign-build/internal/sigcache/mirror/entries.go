package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

// Entries yields all entries of the mirror, in the order of their addresses. Their signatures
// are not verified. The last pair may have an error, which names the file.
func (m *Mirror) Entries(ctx context.Context) iter.Seq2[sigcache.Entry, error] {
	return func(yield func(sigcache.Entry, error) bool) {
		if err := m.entries(ctx, yield); err != nil {
			yield(sigcache.Entry{}, fmt.Errorf("cache mirror %s: %w", m.name, err))
		}
	}
}

// entries yields the entries of all shards, some of which it fetches at the same time. It
// returns nil if yield returns false.
func (m *Mirror) entries(ctx context.Context, yield func(sigcache.Entry, error) bool) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	for first := 0; first < 256; first += parallel {
		if more, err := m.some(ctx, first, yield); !more || err != nil {
			return err
		}
	}
	return nil
}

// begin reads the index.
func (m *Mirror) begin(ctx context.Context) error {
	if !m.indexLock.enter(ctx) {
		return context.Cause(ctx)
	}
	defer m.indexLock.leave()
	x, err := m.source.index(ctx)
	if err == nil {
		m.current = &x
	}
	return err
}

// some yields the entries of the next shards.
func (m *Mirror) some(ctx context.Context, first int, yield func(sigcache.Entry, error) bool) (more bool, err error) {
	var files [parallel]*os.File
	var listed [parallel]*shards.Shard
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	group, fetching := errgroup.WithContext(ctx)
	for i := range files {
		group.Go(func() (err error) {
			files[i], listed[i], err = m.fetch(fetching, byte(first+i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	for i, f := range files {
		if f == nil {
			continue
		}
		for e, err := range shards.Entries(f, listed[i]) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if errors.Is(err, shards.ErrDamaged) {
				m.source.drop(listed[i])
			}
			if err != nil {
				return false, fmt.Errorf("read %s: %w", listed[i].Name(), err)
			}
			if !yield(e, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}
