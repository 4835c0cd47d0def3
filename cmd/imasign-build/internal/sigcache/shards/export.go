package shards

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/input"
)

// Grace is how long shards stay in the directory after an index no longer lists them, so that
// readers and copies that have an older index find them.
const Grace = 24 * time.Hour

// Summary says what [Export] did.
type Summary struct {
	Shards  int
	Entries int64
	Bytes   int64 // size of all shards
	Written int   // number of shards that the directory did not have
	Removed int   // number of shards that no index has listed for a day
}

// Export writes entries to the directory dir, which it makes if it does not exist. It replaces
// the index there, so that it lists these entries only. The entries must be in the order of
// the first byte of their addresses. Of entries with the same address, only the first is
// written. If the directory has the same entries already, Export writes nothing.
//
// If Export fails, the old index and its shards are still there. Errors name the file or the
// entry. They wrap [ErrNewer] if a newer program wrote the index.
func Export(ctx context.Context, dir string, entries iter.Seq2[sigcache.Entry, error]) (Summary, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return Summary{}, fmt.Errorf("make the directory for shards: %w", err)
	}
	x := &export{dir: dir}
	x.builder.reset(0)
	text, err := input.ReadRegular(x.path(IndexName), MaxIndex)
	if err == nil {
		x.old, err = ParseIndex(text)
	}
	switch {
	case errors.Is(err, ErrNewer):
		return Summary{}, fmt.Errorf("%s: %w: export with that program, or into another directory", x.path(IndexName), err)
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged): // a damaged index is replaced
		return Summary{}, err
	}
	x.writes.SetLimit(4) // waiting for the disk, and that many shards are in memory
	err = x.add(ctx, entries)
	if err2 := x.writes.Wait(); err == nil {
		err = err2
	}
	if err != nil {
		return Summary{}, err
	}
	if !bytes.Equal(x.index.Text(), text) {
		if err := x.publish(); err != nil {
			return Summary{}, err
		}
	}
	x.summary.Shards, x.summary.Bytes, x.summary.Written = len(x.index), x.index.Bytes(), int(x.written.Load())
	x.summary.Removed, err = Prune(dir, x.index, Grace)
	return x.summary, err
}

type export struct {
	dir        string
	old, index Index
	builder    builder
	writes     errgroup.Group
	written    atomic.Int32 // number of shards
	summary    Summary
}

func (x *export) path(name string) string { return filepath.Join(x.dir, name) }

// add writes the shards of the entries.
func (x *export) add(ctx context.Context, entries iter.Seq2[sigcache.Entry, error]) error {
	for e, err := range entries {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		address := e.Address()
		switch first := address[0]; {
		case first < x.builder.first:
			return fmt.Errorf("signatures are not in the order of their addresses: %02x after %02x", first, x.builder.first)
		case first > x.builder.first:
			if err := x.flush(); err != nil {
				return err
			}
			x.builder.reset(first)
		}
		if err := x.builder.add(address, &e); err != nil {
			return err
		}
	}
	return x.flush()
}

// flush begins to write the shard of the builder.
func (x *export) flush() error {
	if len(x.builder.items) == 0 {
		return nil
	}
	s, content, err := x.builder.build()
	if err != nil {
		return err
	}
	x.index = append(x.index, s)
	x.summary.Entries += s.Entries
	x.writes.Go(func() error { return x.write(&s, content) })
	return nil
}

// write writes a shard, unless the directory has it.
func (x *export) write(s *Shard, content []byte) error {
	path := x.path(s.Name())
	if !same(path, s) {
		x.written.Add(1)
		return atomicfile.WriteFile(path, content, 0o644)
	}
	if x.old.Has(s.Name()) {
		return nil
	}
	now := time.Now() // another export must not remove it
	return os.Chtimes(path, now, now)
}

// same reports whether the file is the shard.
func same(path string, s *Shard) bool {
	f, err := input.Regular(path)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, s.Size+1))
	return err == nil && n == s.Size && bytes.Equal(sum.Sum(nil), s.SHA256[:])
}

// publish replaces the index. The time of shards that are listed no longer becomes that of
// this moment, from which their grace counts.
func (x *export) publish() error {
	now := time.Now()
	for i := range x.old {
		if name := x.old[i].Name(); !x.index.Has(name) {
			if err := os.Chtimes(x.path(name), now, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return atomicfile.WriteFile(x.path(IndexName), x.index.Text(), 0o644)
}
