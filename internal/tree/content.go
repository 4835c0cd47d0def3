package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Content is an open file that must not change while it is read. If the file is no longer in
// the state of the walk, reading returns an error instead of io.EOF. A Content is for one
// goroutine.
type Content struct {
	f     *os.File
	stamp Stamp
	read  int64
}

// OpenContent opens a file as [Tree.Open] does. stamp is the file's state in the walk. If
// the file is in another state, the error wraps [ErrChanged].
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

// File returns the open file. The caller must not close it, and may read it only at offsets.
func (c *Content) File() *os.File { return c.f }

func (c *Content) Read(b []byte) (int, error) {
	n, err := c.f.Read(b)
	c.read += int64(n)
	end := errors.Is(err, io.EOF)
	if !end && c.read <= c.stamp.Size {
		return n, err
	}
	// The end of the file, or more than its size in the walk: do not follow a growing file.
	if changed := c.unchanged(); changed != nil {
		return n, changed
	}
	if c.read != c.stamp.Size { // not a normal regular file: /proc, a broken FUSE file system
		return n, fmt.Errorf("read %s: its content does not have the %d bytes that its size states", c.f.Name(), c.stamp.Size)
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
