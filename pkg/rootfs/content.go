package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// opener returns the Open of an entry that the walk met in the state stamp.
func (t *Tree) opener(stamp tree.Stamp) func(context.Context, *signing.Entry) (io.ReadCloser, error) {
	return func(_ context.Context, e *signing.Entry) (io.ReadCloser, error) {
		f, err := t.tree.Open(e.Path)
		if err != nil {
			return nil, err
		}
		c := &content{f: f, stamp: stamp}
		if err := t.complete(c, e); err != nil || e.Reason != "" {
			return nil, errors.Join(err, f.Close())
		}
		return c, nil
	}
}

// complete adds to the entry what only its open file tells.
func (t *Tree) complete(c *content, e *signing.Entry) (err error) {
	if err := c.unchanged(); err != nil {
		return err
	}
	if t.selection == Executable && !selectedByName(e.Path, e.Mode) {
		elf, err := isELF(c.f)
		if err != nil {
			return err
		}
		if !elf {
			e.Reason = notExecutable
			return nil
		}
	}
	e.Xattrs, err = t.tree.FileXattrs(c.f, e.Path, "security.")
	return err
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
