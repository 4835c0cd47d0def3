package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

// directory is a mirror that is read where it is.
type directory struct {
	path string

	mu  sync.Mutex
	dir *shards.Dir
}

func (d *directory) open() (*shards.Dir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir != nil {
		return d.dir, nil
	}
	dir, err := shards.Open(d.path)
	if err != nil {
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			err = path.Err // its path is the name of the mirror
		}
		return nil, fmt.Errorf("open the directory: %w", err)
	}
	d.dir = dir
	return dir, nil
}

func (d *directory) index(context.Context) (shards.Index, error) {
	dir, err := d.open()
	if err != nil {
		return nil, err
	}
	return dir.Index()
}

func (d *directory) shard(_ context.Context, s *shards.Shard) (*os.File, error) {
	dir, err := d.open()
	if err != nil {
		return nil, err
	}
	return dir.Shard(s)
}

func (*directory) drop(*shards.Shard) {}

func (d *directory) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == nil {
		return nil
	}
	return d.dir.Close()
}
