package tree

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// XattrChange changes one extended attribute from the value Old to the value New. nil means
// that the attribute does not exist.
type XattrChange struct {
	Name     string
	Old, New []byte
}

// XattrError is an error about one xattr, or about the list of xattrs.
type XattrError struct {
	Op   string // "list", "get", "set" or "remove"
	Name string // of the xattr; "" for "list"
	Path string // of the file, from Tree.Name
	Size int    // of the value in bytes, for "set"
	Err  error
}

func (e *XattrError) Error() string {
	what := e.Name
	if what == "" {
		what = "xattrs"
	}
	return fmt.Sprintf("%s %s of %s: %v", e.Op, what, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *XattrError) Unwrap() error { return e.Err }

// xattrs is the place of extended attributes: the file system, or the memory of a preloaded
// library.
type xattrs interface {
	// read returns the xattrs whose names start with prefix. f is open at path, perhaps
	// with O_PATH.
	read(f *os.File, path, prefix string) (map[string][]byte, error)
	// change makes the changes in order. It returns the number of changes made, and the
	// file's stamp after them.
	change(path string, want Stamp, how how, changes []XattrChange) (int, Stamp, error)
}

// how is the condition of changes.
type how uint8

const (
	// attach needs the file in the state of its stamp, and each xattr to exist or not, as
	// Old says. The first change that finds otherwise (EEXIST, ENODATA), or fails, ends it.
	attach how = iota
	// restore needs only the same inode. It skips xattrs that do not have the value Old.
	restore
)

// Xattrs returns the xattrs of n, or nil if the file system does not support them. n may be
// of any kind: a link has its own xattrs, and a device is not opened. If the path leads to
// another inode now, the error wraps ErrChanged.
func (t *Tree) Xattrs(n Node) (map[string][]byte, error) {
	if n.Path == "" {
		return t.FileXattrs(t.root, "", "")
	}
	f, err := t.openNode(n)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for its path
	return t.FileXattrs(f, n.Path, "")
}

// FileXattrs returns the xattrs of f whose names start with prefix. Open has opened f at
// path. If the path leads to another inode now, the error may wrap ErrChanged.
func (t *Tree) FileXattrs(f *os.File, path, prefix string) (map[string][]byte, error) {
	return t.xattrs.read(f, path, prefix)
}

// ChangeXattrs makes the changes in order on the regular file or directory at path. The file
// must be in the state want, and each xattr must exist or not as its Old says: otherwise the
// error wraps ErrChanged. If two processes change a file, one of them gets an error. If the
// file system refuses a change, the error is an *XattrError.
//
// ChangeXattrs returns the number of changes made, and the file's stamp after them: the
// ctime changes, and on overlayfs the inode may change.
//
// The kernel and fakeroot compare and set in one step. Under pseudo the value is read first,
// and only Lock keeps other processes from changing it in between.
func (t *Tree) ChangeXattrs(path string, want Stamp, changes ...XattrChange) (made int, now Stamp, err error) {
	made, now, err = t.xattrs.change(path, want, attach, changes)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODATA) {
		err = fmt.Errorf("%s: %w: another process set or removed its %s", t.Name(path), ErrChanged, changes[made].Name)
	}
	return made, now, err
}

// Lock locks the root against other processes that call Lock, until unlock or the end of the
// process. If another process has the lock, the error wraps ErrLocked. Only pseudo needs it:
// otherwise Lock does nothing.
func (t *Tree) Lock() (unlock func(), err error) {
	if t.preload != "pseudo" {
		return func() {}, nil
	}
	err = ignoringEINTR(func() error { return unix.Flock(int(t.root.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", t.dir, ErrLocked)
	}
	// Some file systems cannot lock a directory. Then other processes are not kept out.
	return func() { _ = unix.Flock(int(t.root.Fd()), unix.LOCK_UN) }, nil
}

// RestoreXattrs makes the changes whose xattr has the value Old. It skips the others, because
// another process has set those xattrs. The file must have the inode of want, in any state:
// otherwise the error wraps ErrChanged.
func (t *Tree) RestoreXattrs(path string, want Stamp, changes ...XattrChange) error {
	_, _, err := t.xattrs.change(path, want, restore, changes)
	return err
}

// ProbeXattr checks whether the xattr name could be set to the value example, without
// changing it. f is a regular file or directory, open at path. Errors are those of
// ChangeXattrs.
//
// ProbeXattr asks the kernel to replace an xattr that does not exist, or to create one that
// exists. pseudo supports neither, so it is asked to remove an xattr that does not exist, or
// to set the existing value again.
func (t *Tree) ProbeXattr(f *os.File, path, name string, example []byte) error {
	was, err := t.FileXattrs(f, path, name)
	if err != nil {
		return err
	}
	now, err := StampOf(f)
	if err != nil {
		return err
	}
	c := XattrChange{Name: name, Old: was[name], New: was[name]}
	var expected error
	switch {
	case t.preload == "pseudo":
	case c.Old == nil:
		c.Old, c.New, expected = example, example, unix.ENODATA
	default:
		c.Old, c.New, expected = nil, example, unix.EEXIST
	}
	_, _, err = t.xattrs.change(path, now, attach, []XattrChange{c})
	if expected != nil && errors.Is(err, expected) {
		return nil
	}
	return err
}
