package shards

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/imasign/imasign-build/internal/input"
)

// Dir is a directory with an index and shards, which somebody else may have written. Only
// regular files in it are opened. Symbolic links that lead out of it are not followed. Errors
// name the file, but not the directory.
type Dir struct{ root *os.Root }

// Open opens a directory for reading.
func Open(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Close ends the use of the directory. Its files stay open.
func (d *Dir) Close() error { return d.root.Close() }

// Index reads the index. Errors wrap [ErrNewer], [ErrDamaged], [input.ErrNotRegular] or those
// of the file system.
func (d *Dir) Index() (Index, error) {
	f, _, err := d.open(IndexName)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	text, err := io.ReadAll(io.LimitReader(f, MaxIndex+1))
	if err != nil {
		return nil, failed(IndexName, err)
	}
	x, err := ParseIndex(text)
	if err != nil {
		return nil, failed(IndexName, err)
	}
	return x, nil
}

// Shard opens the file of a shard. Errors wrap [fs.ErrNotExist], [ErrDamaged] if the file does
// not have the shard's size, [input.ErrNotRegular] or those of the file system.
func (d *Dir) Shard(s *Shard) (*os.File, error) {
	f, info, err := d.open(s.Name())
	if err != nil {
		return nil, err
	}
	if info.Size() != s.Size {
		return nil, errors.Join(failed(s.Name(), damaged("%d bytes, not %d", info.Size(), s.Size)), f.Close())
	}
	return f, nil
}

func (d *Dir) open(name string) (*os.File, fs.FileInfo, error) {
	// Stat before opening, because opening a device can have effects.
	info, err := d.root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = input.ErrNotRegular
	}
	if err != nil {
		return nil, nil, failed(name, err)
	}
	// O_NONBLOCK, in case a FIFO has replaced the file since.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, failed(name, err)
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = input.ErrNotRegular
	}
	if err != nil {
		return nil, nil, errors.Join(failed(name, err), f.Close())
	}
	return f, info, nil
}

// failed returns an error about a file of the directory.
func failed(name string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err // its path begins at the directory
	}
	return fmt.Errorf("read %s: %w", name, err)
}
