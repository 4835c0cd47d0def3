package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tree"
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
	if t.selection == Executable && !selectedByName(e.Path, e.Mode) && !isELF(c.f) {
		e.Reason = "not executable"
		return nil
	}
	e.Xattrs, err = securityXattrs(c.f)
	return err
}

func isELF(f *os.File) bool {
	var magic [4]byte
	n, _ := f.ReadAt(magic[:], 0)
	return n == len(magic) && string(magic[:]) == "\x7fELF"
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
	if errors.Is(err, io.EOF) || c.read > c.stamp.Size { // more than there was: do not follow a growing file
		if changed := c.unchanged(); changed != nil {
			return n, changed
		}
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

// securityXattrs reads the xattrs of the security namespace; a file system
// without xattrs has none.
func securityXattrs(f *os.File) (map[string][]byte, error) {
	names, err := xattr.FList(f)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list xattrs of %s: %w", f.Name(), cause(err))
	}
	var values map[string][]byte
	for _, name := range names {
		if !strings.HasPrefix(name, "security.") {
			continue
		}
		value, err := xattr.FGet(f, name)
		if errors.Is(err, xattr.ENOATTR) { // removed since it was listed; a change that the stamp shows
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", name, f.Name(), cause(err))
		}
		if values == nil {
			values = make(map[string][]byte, 1)
		}
		values[name] = value
	}
	return values, nil
}

// cause strips what package xattr wraps around an error number: the operation and
// path that ours state already.
func cause(err error) error {
	var x *xattr.Error
	if errors.As(err, &x) {
		return x.Err
	}
	return err
}
