package tree

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readFlags never block on a FIFO or a device, and never follow a final link.
const readFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// Open opens the file at path (relative, slash-separated, as Walk yields it) for
// reading, leaving its access time alone where the kernel allows it. A symbolic
// link anywhere in path is an error (ELOOP), and so is a mount point that the
// tree's Options exclude (ErrMountPoint).
func (t *Tree) Open(path string) (*os.File, error) { return t.open(path, readFlags) }

func (t *Tree) openDir(path string) (*os.File, error) {
	return t.open(path, readFlags|unix.O_DIRECTORY)
}

func (t *Tree) open(path string, flags int) (*os.File, error) {
	fd, err := t.openFD(path, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) { // only the owner may ask for O_NOATIME
		fd, err = t.openFD(path, flags)
	}
	if errors.Is(err, unix.EXDEV) && !t.opts.CrossMounts {
		err = ErrMountPoint
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: t.Name(path), Err: err}
	}
	return os.NewFile(uintptr(fd), t.Name(path)), nil
}

// openFD asks the kernel to hold the containment (openat2, Linux 5.6), and walks
// the components itself where that call is missing, forbidden by a seccomp
// filter, or the path is longer than PATH_MAX.
func (t *Tree) openFD(path string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	if !t.opts.CrossMounts {
		how.Resolve |= unix.RESOLVE_NO_XDEV
	}
	fd, err := retry(func() (int, error) { return unix.Openat2(int(t.root.Fd()), path, &how) })
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENAMETOOLONG):
		return t.openByComponent(path, flags)
	case errors.Is(err, unix.EPERM) && flags&unix.O_NOATIME == 0:
		return t.openByComponent(path, flags)
	}
	return fd, err
}

// openByComponent opens one directory after the other, none through a link.
// Without openat2 a mount point is recognised by its device number alone.
func (t *Tree) openByComponent(path string, flags int) (int, error) {
	const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at := int(t.root.Fd())
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == "" || name == ".." {
			closeUnless(at, t.root)
			return -1, unix.EXDEV
		}
		next := flags
		if more {
			next = dirFlags
		}
		fd, err := retry(func() (int, error) { return unix.Openat(at, name, next, 0) })
		if err == nil && !t.opts.CrossMounts && deviceOf(fd) != deviceOf(at) {
			_ = unix.Close(fd)
			fd, err = -1, unix.EXDEV
		}
		closeUnless(at, t.root)
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

func closeUnless(fd int, root *os.File) {
	if fd != int(root.Fd()) {
		_ = unix.Close(fd)
	}
}

func deviceOf(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint64(st.Dev) //nolint:unconvert // 32 bits wide on some architectures
}

// retry repeats a system call that a signal interrupted, as network and FUSE
// file systems report it.
func retry(call func() (int, error)) (int, error) {
	for {
		fd, err := call()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
