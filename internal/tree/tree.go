// Package tree walks a directory tree, opens its files, and reads and changes their
// metadata. It never follows a symbolic link and never leaves the tree.
//
// Everything is opened relative to one descriptor of the tree's root. If a path is replaced
// by a symbolic link (or by "..") during the walk, opening it fails. Under pseudo and
// fakeroot, and only there, types, modes, owners and xattrs come from the C library. The
// package does not know about signatures.
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

// Errors that callers act on. All are wrapped with the operation and the path.
var (
	// ErrChanged means that a file has changed since the walk: it was replaced or written
	// to, or its metadata was changed.
	ErrChanged = errors.New("file changed while it was being processed")
	// ErrMountPoint means that a path leads into another mount, which the tree's Options
	// do not allow.
	ErrMountPoint = errors.New("mount point")
	// ErrNotFile means that a path leads to a device, a FIFO or a socket, which has no
	// content to read.
	ErrNotFile = errors.New("neither a regular file nor a directory")
	// ErrLocked means that another process is changing the tree.
	ErrLocked = errors.New("another process is changing this tree")
	// ErrPreload means that the process runs under pseudo or fakeroot, but this build has
	// no access to their pretended owners, modes and xattrs.
	ErrPreload = errors.New("a program built without cgo cannot see or set pretended owners and xattrs")
)

// Options are the options of Open.
type Options struct {
	// CrossMounts lets the walk enter other file systems that are mounted inside the tree.
	CrossMounts bool
	// CLibrary takes metadata from the C library even without pseudo and fakeroot. The
	// result is the same, but slower. It is for tests.
	CLibrary bool
}

// Tree is an open directory tree. It is safe for concurrent use.
type Tree struct {
	dir    string
	prefix string // the cleaned dir, with which names begin
	root   *os.File
	opts   Options

	openat2 bool   // the kernel has openat2 and lets this process use it
	mount   uint64 // the id of the root's mount; 0 if the kernel does not tell it

	preload string     // "pseudo", "fakeroot" or ""
	through *pretended // nil if metadata comes from the kernel
	xattrs  xattrs
	anchors anchors
}

// Open opens the tree below dir. If dir itself is a symbolic link, it is followed, because
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

// Preload returns the name of the library that pretends owners, modes and xattrs, "pseudo"
// or "fakeroot", or "" if there is none.
func (t *Tree) Preload() string { return t.preload }

// Close releases the tree's descriptor. Files opened from it stay open.
func (t *Tree) Close() error {
	t.anchors.close()
	return t.root.Close()
}

// Dir returns the directory as it was given to Open.
func (t *Tree) Dir() string { return t.dir }

// Root returns the open root directory. The caller must not close it.
func (t *Tree) Root() *os.File { return t.root }

// Name returns the name of path (relative, slash-separated) for people: below the directory
// that was given to Open.
func (t *Tree) Name(path string) string {
	if path == "." {
		return t.prefix
	}
	return strings.TrimSuffix(t.prefix, "/") + "/" + path // both are clean; filepath.Join would clean them at every open
}
