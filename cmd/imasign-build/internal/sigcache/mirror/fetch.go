package mirror

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

// maxRefreshes is how often the index of a mirror is read again. Whoever writes another one each
// time, and lists shards that are not there, would be asked without end.
const maxRefreshes = 8

var errRestless = errors.New("its index changes all the time, and lists shards that are not there")

// lock is a mutex for which waiting can be given up.
type lock chan struct{}

// enter reports whether it took the lock.
func (l lock) enter(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case l <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l lock) leave() { <-l }

// fetch returns the file of the shard with a first byte, and its line in the index. They are nil
// if there is none. If the mirror no longer has the file, fetch reads the index again.
func (m *Mirror) fetch(ctx context.Context, first byte) (*os.File, *shards.Shard, error) {
	x := m.index(ctx)
	for {
		s := x.Find(first)
		if s == nil {
			return nil, nil, context.Cause(ctx)
		}
		f, err := m.source.shard(ctx, s)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, s, err
		}
		newer, err2 := m.refresh(ctx, x)
		if err2 != nil {
			return nil, nil, err2
		}
		if again := newer.Find(first); again != nil && again.SHA256 == s.SHA256 {
			return nil, nil, err
		}
		x = newer
	}
}

// refresh returns an index that is newer than x.
func (m *Mirror) refresh(ctx context.Context, x shards.Index) (shards.Index, error) {
	if !m.indexLock.enter(ctx) {
		return nil, context.Cause(ctx)
	}
	defer m.indexLock.leave()
	if !same(*m.current, x) { // another goroutine has read it
		return *m.current, nil
	}
	if m.refreshes++; m.refreshes > maxRefreshes {
		return nil, errRestless
	}
	newer, err := m.source.index(ctx)
	if err != nil {
		return nil, err
	}
	m.current = &newer
	return newer, nil
}

func same(x, y shards.Index) bool { return string(x.Text()) == string(y.Text()) }
