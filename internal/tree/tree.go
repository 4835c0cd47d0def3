// Package tree walks a directory tree and reads the metadata of what it finds,
// without ever following a symbolic link or leaving the tree.
//
// Everything is opened relative to one descriptor of the tree's root, so a path
// that is swapped for a symbolic link (or for "..") while the walk runs leads to
// an error and never outside. Under pseudo and fakeroot, and only there, types,
// modes, owners and xattrs come from the C library. The package knows nothing of signatures: which
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
	// ErrLocked means that another process is changing the tree.
	ErrLocked = errors.New("somebody else is changing this tree at the same time")
	// ErrPreload means that the process runs under pseudo or fakeroot, and this
	// build has no way to their pretended owners, modes and xattrs.
	ErrPreload = errors.New("a program built without cgo neither sees nor sets the owners and xattrs that it pretends")
)

// Options of Open.
type Options struct {
	// CrossMounts lets the walk enter other file systems mounted inside the tree.
	CrossMounts bool
	// CLibrary takes metadata from the C library although neither pseudo nor
	// fakeroot is there to answer: it says the same, in more time. It is for tests.
	CLibrary bool
}

// Tree is an open directory tree. It is safe for concurrent use.
type Tree struct {
	dir    string
	prefix string // dir as names begin with it
	root   *os.File
	opts   Options

	openat2 bool   // the kernel has that call and lets this process use it
	mount   uint64 // the id of the root's mount, 0 where the kernel tells none

	preload string     // "pseudo", "fakeroot" or ""
	through *pretended // nil where the kernel's metadata is all there is
	xattrs  xattrs
	anchors anchors
}

// Open opens the tree below dir. A symbolic link given as dir itself is followed:
// the caller named it.
func Open(dir string, opts Options) (*Tree, error) {
	preload := libc.Preload()
	if preload != "" && !libc.Linked {
		return nil, fmt.Errorf("open %s: under %s: %w; build it with CGO_ENABLED=1, linked dynamically", dir, preload, ErrPreload)
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open tree", Path: dir, Err: err}
	}
	t := &Tree{dir: dir, prefix: filepath.Clean(dir), root: os.NewFile(uintptr(fd), dir), opts: opts, preload: preload}
	t.mount = mountOf(fd)
	t.openat2 = hasOpenat2(fd)
	t.xattrs = raw{t}
	t.anchors.root, t.anchors.part = fd, t.openPart
	if preload != "" || opts.CLibrary {
		if t.through, err = openPretended(t); err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.xattrs = t.through
	}
	return t, nil
}

// Preload returns the name of the library that pretends owners, modes and xattrs
// to the tree's users, "pseudo" or "fakeroot", and "" where there is none.
func (t *Tree) Preload() string { return t.preload }

// Close releases the tree's descriptor. Files opened from it stay open.
func (t *Tree) Close() error {
	t.anchors.close()
	return t.root.Close()
}

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
