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
// not to be signed has a Reason. Hard links are grouped around their first name
// that is to be signed. When the listing is through, the observer is warned of
// patterns that matched nothing and of files with further names outside.
func (t *Tree) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		l := listing{Tree: t, links: map[inode]*links{}, hits: map[*pattern]bool{}, trail: newTrail(t.include, t.exclude, t.hashed)}
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

// inode identifies a file with several names, links is what is known of them.
type inode struct{ dev, ino uint64 }

type links struct {
	first    string
	hashOnly bool
	outside  uint64 // names not met yet
}

// listing is one pass over the tree.
type listing struct {
	*Tree
	links map[inode]*links
	hits  map[*pattern]bool // the patterns that matched anything
	trail *trail
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
	if e.Reason != "" {
		return e, nil
	}
	e.Open = l.opener(n.Stamp)
	if n.Links > 1 {
		return e, l.link(n, &e)
	}
	return e, nil
}

// link finds the entry's hard-link group. Executable may select one name of an
// inode and not another; a name that only the content can select is therefore
// looked into before it may speak for the others.
func (l *listing) link(n *tree.Node, e *signing.Entry) error {
	if l.selection == Executable && !selectedByName(n.Path, n.Mode) {
		elf, err := l.looksExecutable(n)
		if err != nil {
			return err
		}
		if !elf {
			e.Reason, e.Open = notExecutable, nil
			return nil
		}
	}
	e.Same = l.group(n, e)
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

func (l *listing) group(n *tree.Node, e *signing.Entry) string {
	id := inode{n.Stamp.Dev, n.Stamp.Ino}
	known := l.links[id]
	if known == nil {
		known = &links{first: n.Path, hashOnly: e.HashOnly, outside: n.Links}
		l.links[id] = known
	}
	known.outside--
	if known.hashOnly != e.HashOnly {
		l.observe.Warn(n.Path, "is a hard link of a name that --hashed treats otherwise: the first one in byte order decides")
		e.HashOnly = known.hashOnly
	}
	return known.first
}

func (l *listing) warn() {
	for _, list := range []patterns{l.include, l.exclude, l.hashed} {
		for _, p := range list {
			if !l.hits[p] {
				l.observe.Warn("", fmt.Sprintf("%s %q matches nothing in the tree (symbolic links are not followed: with a merged /usr it is usr/lib, not lib)", p.flag, p.text))
			}
		}
	}
	outside := 0
	for _, known := range l.links {
		if known.outside > 0 {
			outside++
		}
	}
	if outside > 0 {
		l.observe.Warn("", fmt.Sprintf("%d files have further hard links outside of the selection or of the tree; those names share the signature", outside))
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
