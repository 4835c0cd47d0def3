// Package tree walks a directory tree and reads the metadata of what it finds,
// without ever following a symbolic link or leaving the tree.
//
// Everything is opened relative to one descriptor of the tree's root, so a path
// that is swapped for a symbolic link (or for "..") while the walk runs leads to
// an error and never outside. The package knows nothing of signatures: which
// files matter and what becomes of them is for its callers, pkg/rootfs first.
package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/libc"
)

// Errors that callers decide by; all are wrapped with the operation and the path.
var (
	// ErrChanged means that a file is no longer the one that was walked: it was
	// replaced, written to, or its metadata was changed since.
	ErrChanged = errors.New("file changed while it was being processed")
	// ErrMountPoint means that a path leads into another mount, which the tree's
	// Options do not allow to enter.
	ErrMountPoint = errors.New("mount point")
	// ErrNotFile means that a path leads to something that has no content to
	// read: a device, a FIFO or a socket.
	ErrNotFile = errors.New("neither a regular file nor a directory")
	// ErrPreload means that the process runs under pseudo or fakeroot, whose
	// pretended owners, modes and xattrs raw system calls do not see.
	ErrPreload = errors.New("owners and xattrs pretended by a preloaded library cannot be seen or set")
)

// Options of Open.
type Options struct {
	// CrossMounts lets the walk enter other file systems mounted inside the tree.
	CrossMounts bool
}

// Tree is an open directory tree. It is safe for concurrent use.
type Tree struct {
	dir    string
	prefix string // dir as names begin with it
	root   *os.File
	opts   Options

	openat2 bool   // the kernel has that call and lets this process use it
	mount   uint64 // the id of the root's mount, 0 where the kernel tells none
}

// Open opens the tree below dir. A symbolic link given as dir itself is followed:
// the caller named it.
func Open(dir string, opts Options) (*Tree, error) {
	if name := libc.Preload(); name != "" {
		return nil, fmt.Errorf("open %s: under %s: %w; run outside of it as root, or write a manifest and apply it as root", dir, name, ErrPreload)
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open tree", Path: dir, Err: err}
	}
	t := &Tree{dir: dir, prefix: filepath.Clean(dir), root: os.NewFile(uintptr(fd), dir), opts: opts}
	t.mount = mountOf(fd)
	t.openat2 = hasOpenat2(fd)
	return t, nil
}

// Close releases the tree's descriptor. Files opened from it stay open.
func (t *Tree) Close() error { return t.root.Close() }

// Dir returns the directory as it was given to Open.
func (t *Tree) Dir() string { return t.dir }

// Root returns the open root directory; it belongs to the tree.
func (t *Tree) Root() *os.File { return t.root }

// Name returns path (relative, slash-separated) as a person would type it.
func (t *Tree) Name(path string) string {
	if path == "." {
		return t.prefix
	}
	return strings.TrimSuffix(t.prefix, "/") + "/" + path // is clean: every open makes a name
}
