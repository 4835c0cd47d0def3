// Package rootfs is a directory tree as a container of signatures: it lists the
// files, and attaches security.ima as extended attributes.
//
// A Tree lists entries for a plan of pkg/signing and makes the change that the plan
// describes; a Detached one leaves the files as they are. Walking and containment are
// internal/tree's; digesting, signing and the plan are pkg/signing's; which of the files
// are signed is for a Source around the Tree to say. Attaching is for a process that may
// set security.* xattrs on the tree's file system; Probe says so before any work, and
// WriteRestore makes a file for somebody who may.
package rootfs

import (
	"errors"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers decide by.
var (
	// ErrNoXattrs means that the file system keeps no security.* xattrs.
	ErrNoXattrs = errors.New("the file system keeps no security.ima")
	// ErrNotPermitted means that this process may not set security.ima.
	ErrNotPermitted = errors.New("setting security.ima is not permitted")
	// ErrReadOnly means that the file system is mounted read-only.
	ErrReadOnly = errors.New("the file system is read-only")
	// ErrLinksSplit means that the file system made a file of its own of one name
	// of a hard link when it was attached to, and left the other names unsigned.
	ErrLinksSplit = errors.New("the file system separates hard links when a file is changed (overlayfs)")
)

// errRestored is wrapped by errors of a change after which the tree is as it was before.
var errRestored = errors.New("the tree was restored: nothing is attached")

// Options of Open.
type Options struct {
	CrossMounts bool // enter file systems mounted inside the tree
	Jobs        int  // how many files are attached to at a time; zero stands for one a core
	// Observe gets progress of changes and warnings, from any goroutine; it comes
	// from signing.NewObserver.
	Observe signing.Observer
}

// Tree is an open root file system tree.
type Tree struct {
	tree        *tree.Tree
	crossMounts bool
	jobs        int
	observe     signing.Observer
	probed      bool // Probe succeeded
}

// Open opens the tree below dir, a directory; the caller closes it. Symbolic links in it
// are entries and never followed. Errors are those of opening a directory.
func Open(dir string, o Options) (*Tree, error) {
	t, err := tree.Open(dir, tree.Options{CrossMounts: o.CrossMounts})
	if err != nil {
		return nil, err
	}
	return &Tree{tree: t, crossMounts: o.CrossMounts, jobs: o.Jobs, observe: o.Observe}, nil
}

// Close releases the tree.
func (t *Tree) Close() error { return t.tree.Close() }
