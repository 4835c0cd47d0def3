package rootfs

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

var _ signing.Source = (*Tree)(nil)

// Entries lists every name in the tree in the byte order of the paths; what is
// not to be signed has a Reason. When the listing is through, the observer is warned of
// patterns that matched nothing.
func (t *Tree) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		l := listing{Tree: t, hashOnly: map[string]bool{}, hits: map[*pattern]bool{}, trail: newTrail(t.include, t.exclude, t.hashed)}
		for node, err := range t.tree.Walk(ctx) {
			entry := signing.Entry{Path: node.Path}
			if err == nil {
				entry, err = l.entry(&node)
			}
			if !yield(entry, err) {
				return
			}
		}
		if ctx.Err() == nil {
			l.warn()
		}
	}
}

// listing is one pass over the tree.
type listing struct {
	*Tree
	hashOnly map[string]bool   // by group, whether its first name is HashOnly
	hits     map[*pattern]bool // the patterns that matched anything
	trail    *trail
}

func (l *listing) entry(n *tree.Node) (signing.Entry, error) {
	token, err := n.Stamp.MarshalBinary()
	if err != nil {
		return signing.Entry{Path: n.Path}, err
	}
	e := signing.Entry{Path: n.Path, Mode: n.Mode, UID: n.UID, GID: n.GID, Token: token}
	e.Reason, e.HashOnly = l.treatment(n)
	if n.Mode.IsRegular() {
		e.Size = n.Size
	}
	if n.Mode.IsRegular() {
		e.Open = l.opener(n.Path, n.Mode, n.Stamp)
	}
	if n.Mode.IsRegular() && n.Links > 1 && !n.MountPoint {
		e.Links, e.Group = n.Links, fmt.Sprintf("%d:%d", n.Stamp.Dev, n.Stamp.Ino)
		return e, l.link(n, &e)
	}
	return e, nil
}

// link completes the name of a hard link. Executable may select one name of an
// inode and not another; a name that only the content can select is therefore
// examined before it may speak for the others.
func (l *listing) link(n *tree.Node, e *signing.Entry) error {
	if e.Reason == "" && l.selection == Executable && !selectedByName(n.Path, n.Mode) {
		elf, err := l.looksExecutable(n)
		if err != nil {
			return err
		}
		if !elf {
			e.Reason = notExecutable
		}
	}
	if e.Reason != "" {
		return nil
	}
	switch hashed, known := l.hashOnly[e.Group]; {
	case !known:
		l.hashOnly[e.Group] = e.HashOnly
	case hashed != e.HashOnly:
		l.observe.Warn(n.Path, "is a hard link of a name that the patterns treat otherwise: the first one in byte order decides")
		e.HashOnly = hashed
	}
	return nil
}

// treatment evaluates all patterns, so that each one's hits are counted.
func (l *listing) treatment(n *tree.Node) (reason string, hashOnly bool) {
	l.trail.follow(n.Path)
	included := len(l.include) == 0 || l.include.decide(l.trail.matches, l.hits) != nil
	excluded, hashed := l.exclude.decide(l.trail.matches, l.hits), l.hashed.decide(l.trail.matches, l.hits)
	switch {
	case n.MountPoint:
		return "mount point, not entered", false
	case !n.Mode.IsRegular():
		return manifest.Kind(n.Mode), false
	case !included:
		return "not included", false
	case excluded != nil:
		return "excluded by " + excluded.text, false
	}
	return "", hashed != nil
}

func (l *listing) warn() {
	for _, list := range []patterns{l.include, l.exclude, l.hashed} {
		for _, p := range list {
			if !l.hits[p] {
				l.observe.Warn("", fmt.Sprintf("%s %q matches nothing in the tree (symbolic links are not followed: with a merged /usr it is usr/lib, not lib)", p.flag, p.text))
			}
		}
	}
}

// selectedByName reports whether Executable takes the file whatever its content:
// what can be executed, loaded as a module or as firmware.
func selectedByName(name string, mode fs.FileMode) bool {
	if mode&0o111 != 0 {
		return true
	}
	for _, suffix := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return strings.HasPrefix(name, "lib/firmware/") || strings.HasPrefix(name, "usr/lib/firmware/")
}
