package simulate

import (
	"context"
	"io"
	"io/fs"
	"iter"

	"github.com/imasign/imasign-build/internal/tree"
)

// Tree lists the files that a policy is tried on.
type Tree interface {
	// Walk yields every name below the root, in one order. An error ends the walk.
	Walk(ctx context.Context) iter.Seq2[Node, error]
}

// Node is one name in a Tree.
type Node struct {
	Path       string // relative to the root, slash-separated, in raw bytes
	Mode       fs.FileMode
	UID, GID   uint32
	Size       int64  // in bytes
	FSName     string // type of its file system, as in /proc/filesystems; "" if it is not known
	MountPoint bool   // another file system is mounted here, and the walk does not enter it
	// Readlink returns the target of a symbolic link.
	Readlink func() (string, error)
	// Open opens a regular file, from any goroutine. Its errors name the file.
	Open func() (Content, error)
}

// Content is an open file, for one goroutine.
type Content interface {
	io.ReadCloser
	io.ReaderAt
	// Xattrs returns the security.* xattrs.
	Xattrs() (map[string][]byte, error)
}

// OfDirectory returns the files of a directory tree.
func OfDirectory(t *tree.Tree) Tree { return directory{t} }

type directory struct{ *tree.Tree }

// Walk walks the tree.
func (d directory) Walk(ctx context.Context) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		for n, err := range d.Tree.Walk(ctx) {
			if !yield(d.node(n), err) {
				return
			}
		}
	}
}

func (d directory) node(n tree.Node) Node {
	return Node{
		Path: n.Path, Mode: n.Mode, UID: n.UID, GID: n.GID, Size: n.Size, MountPoint: n.MountPoint,
		Readlink: func() (string, error) { return d.Readlink(n) },
		Open: func() (Content, error) {
			c, err := d.OpenContent(n.Path, n.Stamp)
			if err != nil {
				return nil, err
			}
			return file{c, d.Tree, n.Path}, nil
		},
	}
}

// file is an open file of a directory tree.
type file struct {
	*tree.Content

	tree *tree.Tree
	path string
}

// ReadAt reads at an offset.
func (f file) ReadAt(b []byte, at int64) (int, error) { return f.File().ReadAt(b, at) }

// Xattrs reads the xattrs of the open file.
func (f file) Xattrs() (map[string][]byte, error) {
	return f.tree.FileXattrs(f.File(), f.path, "security.")
}
