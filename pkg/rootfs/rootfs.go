// Package rootfs lists the files of a directory tree, and attaches signatures to them as
// extended attributes.
//
// A [Tree] lists entries for a plan of pkg/signing, which digests and signs them. Then it
// makes the changes of the plan. A [signing.Source] that wraps the Tree can select the
// files to sign.
//
// Only a process that may set security.* xattrs on the tree's file system can attach a
// plan. [Tree.Probe] checks that before any work. Without the permission, [WriteRestore]
// writes a file from which a privileged process can set the xattrs later. A [Detached]
// tree does so instead of changing files.
package rootfs

import (
	"errors"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers act on. Match them with [errors.Is].
var (
	// ErrNoXattrs means that the file system does not support security.* xattrs.
	ErrNoXattrs = errors.New("the file system keeps no security xattrs")
	// ErrNoEVM means that the file system supports security.ima, but not security.evm.
	ErrNoEVM = errors.New("the file system keeps no security.evm")
	// ErrNotPermitted means that this process may not set security.* xattrs.
	ErrNotPermitted = errors.New("setting security xattrs is not permitted")
	// ErrChanged means that a file changed while the program worked on the tree.
	ErrChanged = tree.ErrChanged
	// ErrReadOnly means that the file system is mounted read-only.
	ErrReadOnly = errors.New("the file system is read-only")
	// ErrNoRoom means that the file system has no room for the xattrs of a file.
	ErrNoRoom = errors.New("no room")
	// ErrLinksSplit means that the file system separated one name of a hard link from the
	// others when its xattr was set, so that the other names stayed unsigned.
	ErrLinksSplit = errors.New("the file system separates hard links when a file is changed (overlayfs)")
)

// errRestored is wrapped by the error of a failed change if the tree was restored.
var errRestored = errors.New("the tree was restored: nothing is attached")

// Options are the options of [Open].
type Options struct {
	CrossMounts bool // enter file systems that are mounted inside the tree
	Jobs        int  // number of files that are changed at the same time; zero means one per core
	// Observe receives the progress of changes, and warnings. The zero value ignores them.
	Observe signing.Observer
}

// Tree is an open directory tree, such as a root file system.
type Tree struct {
	tree        *tree.Tree
	crossMounts bool
	jobs        int
	observe     signing.Observer
	probed      []string // xattrs that Probe has checked
}

// Open opens the tree below the directory dir. The caller closes it. Symbolic links in the
// tree are entries and are never followed. Errors are those of opening a directory.
func Open(dir string, o Options) (*Tree, error) {
	t, err := tree.Open(dir, tree.Options{CrossMounts: o.CrossMounts})
	if err != nil {
		return nil, err
	}
	return &Tree{tree: t, crossMounts: o.CrossMounts, jobs: o.Jobs, observe: o.Observe}, nil
}

// Close releases the tree.
func (t *Tree) Close() error { return t.tree.Close() }
