package tree

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readFlags open a file for reading without blocking on a FIFO or a device.
const readFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC

// passFlags open a directory on the way to a file. Reading a directory needs more rights
// than passing through it.
const passFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// Open opens the file or directory at path for reading. path is relative and
// slash-separated, and has no "." or ".." in it, as Walk yields it. "." is the root. Open
// does not change the access time if the kernel allows that.
//
// These are errors: a symbolic link anywhere in path (ELOOP), a mount that the tree's Options
// exclude (ErrMountPoint), and a file that is neither regular nor a directory (ErrNotFile).
func (t *Tree) Open(path string) (*os.File, error) {
	f, err := t.open(path, readFlags)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = ignoringEINTR(func() error { return unix.Fstat(int(f.Fd()), &st) }); err == nil {
		if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFREG || kind == unix.S_IFDIR {
			return f, nil
		}
		err = ErrNotFile
	}
	_ = f.Close()
	return nil, &os.PathError{Op: "open", Path: t.Name(path), Err: err}
}

// OpenDir is Open for directories. Other files are an error (ENOTDIR).
func (t *Tree) OpenDir(path string) (*os.File, error) {
	return t.open(path, readFlags|unix.O_DIRECTORY)
}

func (t *Tree) open(path string, flags int) (*os.File, error) {
	fd, err := t.openFor(path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), t.Name(path)), nil
}

// openFor opens path for reading.
func (t *Tree) openFor(path string, flags int) (int, error) {
	fd, err := t.openFD(path, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) { // only the owner may ask for O_NOATIME
		fd, err = t.openFD(path, flags)
	}
	if errors.Is(err, unix.EXDEV) {
		err = ErrMountPoint
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: t.Name(path), Err: err}
	}
	return fd, nil
}

// local reports whether path has the form in which Walk yields paths.
func local(path string) bool {
	if path == "." {
		return true
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return true
}

// openFD opens path from the root in one call, or in parts if it is too long for one call:
// PATH_MAX limits the path of a call, but not the depth of a tree.
func (t *Tree) openFD(path string, flags int) (int, error) {
	limit := unix.PathMax
	if !t.openat2 {
		limit = partLength // every name takes a call
	}
	if len(path) < limit {
		if !local(path) {
			return -1, fs.ErrInvalid
		}
		return t.openPart(int(t.root.Fd()), path, flags)
	}
	fd, err := t.anchors.open(path, flags)
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// openPart opens path with openat2, with which the kernel makes sure that it stays in the
// tree. If that call is missing or forbidden, it opens the components one by one.
func (t *Tree) openPart(at int, path string, flags int) (int, error) {
	if !t.openat2 {
		return t.openByComponent(at, path, flags)
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	if !t.opts.CrossMounts {
		how.Resolve |= unix.RESOLVE_NO_XDEV
	}
	return retry(func() (int, error) { return unix.Openat2(at, path, &how) })
}

// hasOpenat2 reports whether the kernel has openat2 (Linux 5.6) and no seccomp filter forbids
// it. Old filters return EPERM for calls that they do not know.
func hasOpenat2(root int) bool {
	fd, err := retry(func() (int, error) { return unix.Openat2(root, ".", &unix.OpenHow{Flags: passFlags}) })
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// openByComponent opens one directory after the other, and follows no link.
func (t *Tree) openByComponent(at int, path string, flags int) (int, error) {
	start := at
	for {
		name, rest, more := strings.Cut(path, "/")
		next := flags
		if more {
			next = passFlags
		}
		fd, err := t.openComponent(at, name, next)
		if at != start {
			_ = unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

// openComponent opens one name, with the errors of openat2: ELOOP for a link, for which
// O_DIRECTORY and O_PATH give ENOTDIR, and EXDEV for another mount.
func (t *Tree) openComponent(at int, name string, flags int) (int, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(at, name, flags|unix.O_NOFOLLOW, 0) })
	if errors.Is(err, unix.ENOTDIR) {
		var st unix.Stat_t
		if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = unix.ELOOP
		}
	}
	if err == nil && !t.opts.CrossMounts && t.leavesMount(fd, at) {
		_ = unix.Close(fd)
		return -1, unix.EXDEV
	}
	return fd, err
}

// retry repeats a system call that a signal interrupted, as network and FUSE
// file systems report it.
func retry(call func() (int, error)) (fd int, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = call()
		return err
	})
	return fd, err
}
