package rootfs

import (
	"context"
	"fmt"
	"io/fs"
	"iter"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

var _ signing.Source = (*Tree)(nil)

// Entries lists every name in the tree, in the byte order of the paths. Entries that
// cannot be signed have a Reason. An error comes with the path of the entry that it is
// about.
func (t *Tree) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for node, err := range t.tree.Walk(ctx) {
			entry := signing.Entry{Path: node.Path}
			if err == nil {
				entry, err = t.entry(&node)
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

func (t *Tree) entry(n *tree.Node) (signing.Entry, error) {
	token, err := n.Stamp.MarshalBinary()
	if err != nil {
		return signing.Entry{Path: n.Path}, err
	}
	e := signing.Entry{Path: n.Path, Mode: n.Mode, UID: n.UID, GID: n.GID, Device: manifest.Device(n.Mode, n.Major, n.Minor), Token: token}
	if !n.Mode.IsRegular() {
		e.Reason = manifest.Kind(n.Mode)
	} else {
		e.Size, e.Open = n.Size, t.opener(n.Path, n.Stamp)
	}
	if n.Mode&fs.ModeSymlink != 0 {
		link := *n
		e.Readlink = func() (string, error) { return t.tree.Readlink(link) }
	}
	switch {
	case n.MountPoint:
		e.Reason = "mount point, not entered"
	case n.Mode.IsRegular() && n.Links > 1:
		e.Links, e.Group = n.Links, fmt.Sprintf("%d:%d", n.Stamp.Dev, n.Stamp.Ino)
	}
	return e, nil
}
