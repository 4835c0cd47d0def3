// Package rootfs is a directory tree as a container of signatures: it selects
// the files to sign, and attaches security.ima as extended attributes.
//
// A Tree is the Source and the Sink of pkg/signing. Walking and containment are
// internal/tree's; digesting, signing and the plan are pkg/signing's. Attaching is
// for a process that may set security.* xattrs on the tree's file system; Probe
// says so before any work, and WriteRestore makes a file for somebody who may.
package rootfs

import (
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers decide by.
var (
	// ErrPattern means a pattern that is not well-formed.
	ErrPattern = errors.New("not a valid pattern")
	// ErrNoXattrs means that the file system keeps no security.* xattrs.
	ErrNoXattrs = errors.New("the file system keeps no security.ima")
	// ErrNotPermitted means that this process may not set security.ima.
	ErrNotPermitted = errors.New("setting security.ima is not permitted")
	// ErrReadOnly means that the file system is mounted read-only.
	ErrReadOnly = errors.New("the file system is read-only")
	// ErrLinksSplit means that the file system made a file of its own of one name
	// of a hard link when it was attached to, and left the other names unsigned.
	ErrLinksSplit = errors.New("the file system separates hard links when a file is changed (overlayfs)")
	// ErrRestored is wrapped by errors of Attach after which the tree is as it was
	// before.
	ErrRestored = errors.New("the tree was restored: nothing is attached")
)

// Selection says which regular files are signed, before patterns.
type Selection string

// The selections of --select and --require.
const (
	All Selection = "all" // every regular file
	// Executable are files with an execute bit, ELF files of any kind whatever
	// their mode (shared objects, kernel modules), compressed kernel modules, and
	// firmware (everything below lib/firmware).
	Executable Selection = "executable"
)

// ParseSelection refuses any other word.
func ParseSelection(word string) (Selection, error) {
	switch s := Selection(word); s {
	case All, Executable:
		return s, nil
	}
	return "", fmt.Errorf("selection %q: it is %q or %q", word, All, Executable)
}

// Options of Open. Patterns are like those of .gitignore; docs/rootfs.md
// has them with examples.
type Options struct {
	// Include, unless empty, limits signing to what it matches; Exclude takes away
	// from that; what Hashed matches gets a digest instead of a signature.
	Include, Exclude, Hashed []string
	Select                   Selection // "" stands for All
	CrossMounts              bool      // enter file systems mounted inside the tree
	// Observe gets progress of Attach and warnings, from any goroutine; it comes
	// from signing.NewObserver.
	Observe signing.Observer
}

// Tree is an open root file system tree.
type Tree struct {
	tree                     *tree.Tree
	selection                Selection
	crossMounts              bool
	include, exclude, hashed patterns
	observe                  signing.Observer
}

// Open opens the tree below dir and compiles the patterns.
func Open(dir string, o Options) (*Tree, error) {
	t := &Tree{selection: o.Select, crossMounts: o.CrossMounts, observe: o.Observe}
	if t.selection == "" {
		t.selection = All
	}
	if _, err := ParseSelection(string(t.selection)); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		flag string
		text []string
		into *patterns
	}{{"--include", o.Include, &t.include}, {"--exclude", o.Exclude, &t.exclude}, {"--hashed", o.Hashed, &t.hashed}} {
		var err error
		if *list.into, err = compile(list.flag, list.text); err != nil {
			return nil, err
		}
	}
	var err error
	t.tree, err = tree.Open(dir, tree.Options{CrossMounts: o.CrossMounts})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Close releases the tree.
func (t *Tree) Close() error { return t.tree.Close() }
