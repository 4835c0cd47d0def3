// Package mirror is a [signing.Cache] that looks for signatures in the shards that another
// cache was exported as (package sigcache/shards). They are in a directory, or on a web server,
// from where it fetches each shard when it first needs it, and keeps it.
//
// Nothing that it reads is trusted: whoever calls it verifies every signature. Files and answers
// are limited in size, requests in time, and redirects to https or the same scheme. If anything
// is wrong with a mirror, it says so once, and finds no more.
package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Options are the options of [New].
type Options struct {
	// Cache is the directory of the cache. What is fetched is kept below mirror/ in it, which
	// only its owner can read. Several processes may use it. Mirrors that are directories do
	// not need it.
	Cache string
	// Warn is called once if anything is wrong with the mirror. It may be nil.
	Warn func(string)
}

// parallel is the number of files that are fetched from one mirror at the same time.
const parallel = 8

// source is where the files of a mirror are.
type source interface {
	// index returns the newest index. With an error it may return an older one, whose shards
	// may be there.
	index(ctx context.Context) (shards.Index, error)
	// shard returns the file of a shard, which has its size. The error wraps fs.ErrNotExist
	// if the mirror does not have it, because its index has changed.
	shard(ctx context.Context, s *shards.Shard) (*os.File, error)
	// drop removes a damaged shard, so that the next run fetches it again.
	drop(s *shards.Shard)
	close() error
}

// Mirror is the shared cache of somebody else. Several goroutines may use it.
type Mirror struct {
	name   string
	source source
	warn   func(string)
	warned sync.Once

	indexLock lock
	current   *shards.Index // nil before it is read, and empty if it cannot be
	refreshes int

	slots [256]slot
}

var _ signing.Cache = (*Mirror)(nil)

// slot is the shard with one first byte.
type slot struct {
	lock   lock
	opened bool
	listed *shards.Shard
	raw    *os.File
	file   *shards.File // nil if there is none, or it cannot be read
}

// New returns the mirror at a URL (https:, http: or file:), or in the directory with this path. It
// does not open it yet. An error means that the name is wrong. Neither errors nor warnings
// contain a password that is in the URL.
func New(name string, o Options) (*Mirror, error) {
	m := &Mirror{warn: o.Warn, indexLock: make(lock, 1)}
	for i := range m.slots {
		m.slots[i].lock = make(lock, 1)
	}
	u, path, err := parse(name)
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		m.name, m.source = path, &directory{path: path}
	default:
		w := newWeb(u, o.Cache)
		m.name, m.source = w.base.String(), w
	}
	return m, nil
}

// String returns the URL without a password, or the path.
func (m *Mirror) String() string { return m.name }

// Close ends the use of the mirror.
func (m *Mirror) Close() error {
	err := m.source.close()
	for i := range m.slots {
		if raw := m.slots[i].raw; raw != nil {
			err = errors.Join(err, raw.Close())
		}
	}
	return err
}

// Get implements [signing.Cache].
func (m *Mirror) Get(ctx context.Context, b signing.Batch) [][]byte {
	found := make([][]byte, len(b.Digests))
	key, err := sigcache.KeyOf(b.Key)
	if err != nil {
		return found // no shard has signatures of such a key
	}
	e := sigcache.Entry{Key: key, Form: b.Form, Hash: b.Hash}
	addresses := make([][sha256.Size]byte, len(b.Digests))
	var needed [256]bool
	for i, digest := range b.Digests {
		e.Digest = digest
		addresses[i] = e.Address()
		needed[addresses[i][0]] = true
	}
	files := m.open(ctx, &needed)
	for i, address := range addresses {
		f := files[address[0]]
		if f == nil {
			continue
		}
		if found[i], err = f.Get(address, b.Digests[i]); err != nil {
			m.damaged(address[0], err)
			files[address[0]] = nil
		}
	}
	return found
}

// Put implements [signing.Cache]. It stores nothing.
func (*Mirror) Put(context.Context, signing.Batch, [][]byte, [][]byte) [][]byte { return nil }

// open returns the shards that are needed, nil where there is none.
func (m *Mirror) open(ctx context.Context, needed *[256]bool) (files [256]*shards.File) {
	x := m.index(ctx)
	var group errgroup.Group
	group.SetLimit(parallel)
	for i := range needed {
		if needed[i] && x.Find(byte(i)) != nil {
			group.Go(func() error {
				files[i] = m.slot(ctx, byte(i))
				return nil
			})
		}
	}
	_ = group.Wait() // no function returns an error
	return files
}

// index returns the index, which is read once.
func (m *Mirror) index(ctx context.Context) shards.Index {
	if !m.indexLock.enter(ctx) {
		return nil
	}
	defer m.indexLock.leave()
	if m.current == nil {
		x, err := m.source.index(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case x != nil:
			m.report("%w; only signatures that were fetched earlier are used", err)
		default:
			m.report("%w; it is not used", err)
		}
		m.current = &x
	}
	return *m.current
}

// slot returns the shard with a first byte, nil if there is none.
func (m *Mirror) slot(ctx context.Context, first byte) *shards.File {
	s := &m.slots[first]
	if !s.lock.enter(ctx) {
		return nil
	}
	defer s.lock.leave()
	if s.opened {
		return s.file
	}
	raw, listed, err := m.fetch(ctx, first)
	if err == nil && raw != nil {
		s.raw, s.listed = raw, listed
		s.file, err = shards.NewFile(raw, listed)
		if err != nil {
			m.source.drop(listed)
			err = fmt.Errorf("read %s: %w", listed.Name(), err)
		}
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil // the next caller tries again
	default:
		m.report("%w; signatures that cannot be read are made again", err)
	}
	s.opened = true
	return s.file
}

// damaged ends the use of a shard.
func (m *Mirror) damaged(first byte, err error) {
	s := &m.slots[first]
	s.lock <- struct{}{}
	defer s.lock.leave()
	m.report("read %s: %w; signatures that cannot be read are made again", s.listed.Name(), err)
	m.source.drop(s.listed)
	s.file = nil
}

// report gives the first warning.
func (m *Mirror) report(format string, args ...any) {
	m.warned.Do(func() {
		if m.warn != nil {
			m.warn(fmt.Sprintf("cache mirror %s: %v", m.name, fmt.Errorf(format, args...)))
		}
	})
}
