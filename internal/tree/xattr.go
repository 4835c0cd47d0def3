package tree

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// XattrChange takes one extended attribute from a value to another; nil stands for
// one that is not there.
type XattrChange struct {
	Name     string
	Old, New []byte
}

// XattrError is what went wrong with one xattr, or with the list of them.
type XattrError struct {
	Op   string // "list", "get", "set" or "remove"
	Name string // of the xattr, "" for "list"
	Path string // of the file, as a person would type it
	Size int    // of the value, for "set"
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

// xattrs is where extended attributes are: in the file system, or in the memory of
// a preloaded library.
type xattrs interface {
	// read returns the xattrs of the file that is open at path, be it for its path
	// alone (O_PATH).
	read(f *os.File, path, prefix string) (map[string][]byte, error)
	// change makes the changes in their order, and returns how many were made and
	// the file's stamp then.
	change(path string, want Stamp, how how, changes []XattrChange) (int, Stamp, error)
}

// how says what changes depend on.
type how uint8

const (
	// attach demands the file in the state of its stamp, and each xattr to be there
	// or not, as Old says; the first that is otherwise (EEXIST, ENODATA), or fails,
	// ends it.
	attach how = iota
	// restore demands the inode alone, and leaves out what has not the value Old.
	restore
)

// Xattrs returns the xattrs of n, of whatever kind it is; nil where the file system
// keeps none. A link's are its own, and a device is not opened. Another inode than
// the one that was walked is an error (ErrChanged).
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

// FileXattrs returns the xattrs whose names start with prefix of the file that f,
// opened by Open at path, is. That path must still lead to it (ErrChanged).
func (t *Tree) FileXattrs(f *os.File, path, prefix string) (map[string][]byte, error) {
	return t.xattrs.read(f, path, prefix)
}

// ChangeXattrs makes the changes in their order on the regular file or directory at
// path, which must be in the state want, each xattr being there or not as its Old
// says (ErrChanged): of two that change a file, one gets an error. It returns how
// many were made before one failed, and the stamp that the file has then: ctime
// moves, and on overlayfs the inode. A change that the file system refuses is an
// *XattrError.
//
// The kernel and fakeroot compare as they set. pseudo cannot: there the value is read
// before, and it takes Lock to keep others out between the two.
func (t *Tree) ChangeXattrs(path string, want Stamp, changes ...XattrChange) (made int, now Stamp, err error) {
	made, now, err = t.xattrs.change(path, want, attach, changes)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODATA) {
		err = fmt.Errorf("%s: %w: somebody else set or removed its %s", t.Name(path), ErrChanged, changes[made].Name)
	}
	return made, now, err
}

// Lock keeps every other process that locks the same root out, until unlock or the
// end of the process (ErrLocked). Without pseudo there is no need, and it does
// nothing.
func (t *Tree) Lock() (unlock func(), err error) {
	if t.preload != "pseudo" {
		return func() {}, nil
	}
	err = ignoringEINTR(func() error { return unix.Flock(int(t.root.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", t.dir, ErrLocked)
	}
	// Some file systems cannot lock a directory; then there is no keeping out.
	return func() { _ = unix.Flock(int(t.root.Fd()), unix.LOCK_UN) }, nil
}

// RestoreXattrs makes those changes whose xattr has the value Old, and leaves the
// others out: they are somebody else's. The file must be the same inode as want's,
// in whatever state (ErrChanged).
func (t *Tree) RestoreXattrs(path string, want Stamp, changes ...XattrChange) error {
	_, _, err := t.xattrs.change(path, want, restore, changes)
	return err
}

// ProbeXattr reports whether the xattr called name could be set to example on the
// regular file or directory f, open at path, and leaves it as it is. It asks the
// kernel to replace a value that is not there, or to create one that is; pseudo,
// which can do neither, is asked to remove what is not there, or to set the value
// that is. Errors are those of ChangeXattrs.
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
