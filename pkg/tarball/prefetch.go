package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/imasign/imasign-build/internal/tree"
)

// Limits of reading ahead of the writing.
const (
	readAhead = 64        // number of files
	smallFile = 512 << 10 // bytes; larger files are opened, but not read into memory
)

// file is a node of the tree with the data of its entry.
type file struct {
	node   tree.Node
	xattrs map[string][]byte
	target string // of a symbolic link
	small  []byte // the whole content of a small file
	open   *os.File
	err    error
}

// nodes lists the tree's root and everything below it. A node that cannot be listed is a
// file with an error.
func (c *creator) nodes(ctx context.Context) iter.Seq2[*file, error] {
	return func(yield func(*file, error) bool) {
		root, err := c.tree.RootNode()
		if !yield(&file{node: root, err: err}, nil) {
			return
		}
		for n, err := range c.tree.Walk(ctx) {
			if !yield(&file{node: n, err: err}, nil) {
				return
			}
		}
	}
}

// reader returns a worker that reads files ahead of the writing.
func (c *creator) reader() func(context.Context, *file) *file {
	return func(_ context.Context, f *file) *file {
		if f.err == nil {
			f.err = f.load(c.tree)
		}
		return f
	}
}

func (f *file) load(t *tree.Tree) (err error) {
	switch n := &f.node; {
	case n.Mode&fs.ModeSymlink != 0:
		if f.target, err = t.Readlink(*n); err != nil {
			return err
		}
	case n.Mode.IsRegular():
		return f.loadContent(t)
	}
	f.xattrs, err = t.Xattrs(f.node)
	return err
}

func (f *file) loadContent(t *tree.Tree) (err error) {
	if f.open, err = t.Open(f.node.Path); err != nil {
		return err
	}
	if f.xattrs, err = t.FileXattrs(f.open, f.node.Path, ""); err != nil {
		return err
	}
	if f.node.Size > smallFile {
		return f.unchanged()
	}
	f.small = make([]byte, f.node.Size)
	if _, err := io.ReadFull(f.open, f.small); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(f.unchanged(), fmt.Errorf("read %s: %w", f.open.Name(), err))
	}
	return errors.Join(f.unchanged(), f.close())
}

// unchanged checks that the open file is in the same state as at the walk.
func (f *file) unchanged() error {
	now, err := tree.StampOf(f.open)
	if err != nil {
		return err
	}
	if err := f.node.Stamp.Check(now); err != nil {
		return fmt.Errorf("read %s: %w", f.open.Name(), err)
	}
	return nil
}

func (f *file) copy(ctx context.Context, w io.Writer, buf []byte) error {
	if f.small != nil {
		_, err := w.Write(f.small)
		return err
	}
	for left := f.node.Size; left > 0; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := f.open.Read(buf[:min(left, int64(len(buf)))])
		if n == 0 && err != nil {
			return errors.Join(f.unchanged(), fmt.Errorf("read %s: %w", f.open.Name(), err))
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return f.unchanged()
}

func (f *file) close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open = nil
	return err
}
