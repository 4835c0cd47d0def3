package tree

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// pathFlags open a file of any kind, a symbolic link itself included, for
// nothing but to know which one it is.
const pathFlags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC

// RootNode returns the metadata of the root directory, with "" as path.
func (t *Tree) RootNode() (Node, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstat(int(t.root.Fd()), &st) })
	n := nodeOf(&st)
	if err == nil && t.through != nil {
		err = t.through.pretendRoot(&n)
	}
	if err != nil {
		return Node{}, &os.PathError{Op: "stat", Path: t.dir, Err: err}
	}
	return n, nil
}

// Readlink returns what the symbolic link n points to.
func (t *Tree) Readlink(n Node) (string, error) {
	f, err := t.openNode(n)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // opened for its path
	b := make([]byte, unix.PathMax)
	size, err := unix.Readlinkat(int(f.Fd()), "", b)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return string(b[:size]), nil
}

// openNode opens n for its path alone and holds that it is the inode that the walk
// met.
func (t *Tree) openNode(n Node) (*os.File, error) {
	fd, err := t.openFD(n.Path, pathFlags)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: t.Name(n.Path), Err: err}
	}
	f := os.NewFile(uintptr(fd), t.Name(n.Path))
	now, err := StampOf(f)
	if err == nil && !now.SameInode(n.Stamp) {
		err = &os.PathError{Op: "open", Path: f.Name(), Err: ErrChanged}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
