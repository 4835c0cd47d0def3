package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// opener returns the Open of an entry that the walk found in the state stamp.
func (t *Tree) opener(path string, mode fs.FileMode, stamp tree.Stamp) func(context.Context) (*signing.File, error) {
	return func(context.Context) (*signing.File, error) {
		f, err := t.tree.Open(path)
		if err != nil {
			return nil, err
		}
		c := &content{f: f, stamp: stamp}
		xattrs, err := t.complete(c, path, mode)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &signing.File{ReadCloser: c, Xattrs: xattrs}, nil
	}
}

// complete returns the file's xattrs, or an Unselected.
func (t *Tree) complete(c *content, path string, mode fs.FileMode) (map[string][]byte, error) {
	if err := c.unchanged(); err != nil {
		return nil, err
	}
	if t.selection == Executable && !selectedByName(path, mode) {
		elf, err := isELF(c.f)
		if err != nil {
			return nil, err
		}
		if !elf {
			return nil, signing.Unselected{Reason: notExecutable}
		}
	}
	return t.tree.FileXattrs(c.f, path, "security.")
}

// notExecutable is the Reason of what the Selection Executable leaves out.
const notExecutable = "not executable"

// looksExecutable reports whether the node's content is an ELF file.
func (t *Tree) looksExecutable(n *tree.Node) (bool, error) {
	f, err := t.tree.Open(n.Path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if err := (&content{f: f, stamp: n.Stamp}).unchanged(); err != nil {
		return false, err
	}
	return isELF(f)
}

// isELF fails where the file cannot be read: taken for no ELF file, it would
// silently stay unsigned.
func isELF(f *os.File) (bool, error) {
	var magic [4]byte
	_, err := f.ReadAt(magic[:], 0)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return string(magic[:]) == "\x7fELF", err
}

// content is a file being read. It fails, rather than end, when the file is not
// in the state in which the walk met it.
type content struct {
	f     *os.File
	stamp tree.Stamp
	read  int64
}

func (c *content) Read(b []byte) (int, error) {
	n, err := c.f.Read(b)
	c.read += int64(n)
	end := errors.Is(err, io.EOF)
	if !end && c.read <= c.stamp.Size {
		return n, err
	}
	// The end, or more than there was: a growing file is not followed.
	if changed := c.unchanged(); changed != nil {
		return n, changed
	}
	if c.read != c.stamp.Size { // not a file system's regular file: /proc, a broken FUSE
		return n, fmt.Errorf("read %s: its content is not of the %d bytes that its size states", c.f.Name(), c.stamp.Size)
	}
	return n, err
}

func (c *content) Close() error { return c.f.Close() }

func (c *content) unchanged() error {
	now, err := tree.StampOf(c.f)
	if err != nil {
		return err
	}
	if err := c.stamp.Check(now); err != nil {
		return fmt.Errorf("read %s: %w", c.f.Name(), err)
	}
	return nil
}
