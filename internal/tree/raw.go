package tree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// raw reads and changes the xattrs in the file system, with system calls.
type raw struct{ t *Tree }

func (raw) read(f *os.File, _, prefix string) (map[string][]byte, error) {
	h, err := handleOf(f)
	if err != nil {
		return nil, err
	}
	names, err := h.list()
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return nil, nil
	case err != nil:
		return nil, &XattrError{Op: "list", Path: f.Name(), Err: cause(err)}
	}
	var values map[string][]byte
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		value, err := h.get(name)
		if errors.Is(err, xattr.ENOATTR) { // removed since it was listed; the stamp shows that change
			continue
		}
		if err != nil {
			return nil, &XattrError{Op: "get", Name: name, Path: f.Name(), Err: cause(err)}
		}
		if values == nil {
			values = make(map[string][]byte, 1)
		}
		values[name] = value
	}
	return values, nil
}

// handle gives access to the xattrs of an open file. fgetxattr does not work on a file that
// is open with O_PATH, but the kernel's link to it in /proc leads to the same inode.
type handle struct {
	f    *os.File
	link string
}

func handleOf(f *os.File) (handle, error) {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return handle{}, &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
	}
	h := handle{f: f}
	if flags&unix.O_PATH != 0 {
		h.link = "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	}
	return h, nil
}

func (h handle) list() ([]string, error) {
	if h.link != "" {
		return xattr.List(h.link)
	}
	return xattr.FList(h.f)
}

func (h handle) get(name string) ([]byte, error) {
	if h.link != "" {
		return xattr.Get(h.link, name)
	}
	return xattr.FGet(h.f, name)
}

func (r raw) change(path string, want Stamp, how how, changes []XattrChange) (made int, now Stamp, err error) {
	f, err := r.t.Open(path)
	if err != nil {
		return 0, now, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if now, err = StampOf(f); err != nil {
		return 0, now, err
	}
	if err := want.check(now, how); err != nil {
		return 0, now, fmt.Errorf("%s: %w", f.Name(), err)
	}
	for i, c := range changes {
		if how == restore {
			err = restoreRaw(f, c)
		} else {
			err = setRaw(f, c)
		}
		if err != nil {
			return i, now, err
		}
	}
	now, err = StampOf(f)
	return len(changes), now, err
}

// restoreRaw makes the change if the xattr has the value Old.
func restoreRaw(f *os.File, c XattrChange) error {
	now, err := xattr.FGet(f, c.Name)
	if err != nil && !errors.Is(err, xattr.ENOATTR) {
		return &XattrError{Op: "get", Name: c.Name, Path: f.Name(), Err: cause(err)}
	}
	if (now == nil) != (c.Old == nil) || !bytes.Equal(now, c.Old) {
		return nil
	}
	return setRaw(f, c)
}

func setRaw(f *os.File, c XattrChange) error {
	if c.New == nil {
		if err := xattr.FRemove(f, c.Name); err != nil && !errors.Is(err, xattr.ENOATTR) {
			return &XattrError{Op: "remove", Name: c.Name, Path: f.Name(), Err: cause(err)}
		}
		return nil
	}
	if err := xattr.FSetWithFlags(f, c.Name, c.New, c.flags()); err != nil {
		return &XattrError{Op: "set", Name: c.Name, Path: f.Name(), Size: len(c.New), Err: cause(err)}
	}
	return nil
}

// flags make the kernel refuse the change if the xattr exists and Old is nil, or if it does
// not exist and Old is not nil.
func (c XattrChange) flags() int {
	if c.Old == nil {
		return unix.XATTR_CREATE
	}
	return unix.XATTR_REPLACE
}

// cause removes what package xattr wraps around an error number: the operation and the path,
// which XattrError states too.
func cause(err error) error {
	var x *xattr.Error
	if errors.As(err, &x) {
		return x.Err
	}
	return err
}
