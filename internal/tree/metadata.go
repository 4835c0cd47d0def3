package tree

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// pathFlags open a file of any kind, even a symbolic link itself, only to identify it.
const pathFlags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC

// RootNode returns the metadata of the root directory. The node's path is "".
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

// Readlink returns the target of the symbolic link n.
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

// openNode opens n with O_PATH and checks that it is still the inode of the walk.
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
