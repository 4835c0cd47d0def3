package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Content is an open file whose content is that which the walk met. Reading fails, rather
// than ends, when the file is not in that state any more. It is for one goroutine.
type Content struct {
	f     *os.File
	stamp Stamp
	read  int64
}

// OpenContent is [Tree.Open] of a file that the walk met in the state stamp. The error
// wraps [ErrChanged] where it is in another.
func (t *Tree) OpenContent(path string, stamp Stamp) (*Content, error) {
	f, err := t.Open(path)
	if err != nil {
		return nil, err
	}
	c := &Content{f: f, stamp: stamp}
	if err := c.unchanged(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// File returns the open file, which belongs to c. Reading it at an offset does not
// disturb c.
func (c *Content) File() *os.File { return c.f }

func (c *Content) Read(b []byte) (int, error) {
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

// Close closes the file.
func (c *Content) Close() error { return c.f.Close() }

func (c *Content) unchanged() error {
	now, err := StampOf(c.f)
	if err != nil {
		return err
	}
	if err := c.stamp.Check(now); err != nil {
		return fmt.Errorf("read %s: %w", c.f.Name(), err)
	}
	return nil
}
