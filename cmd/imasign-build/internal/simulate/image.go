package simulate

import (
	"context"
	"iter"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// OfImage returns the files of an image.
func OfImage(s *image.Source) Tree { return imageTree{s} }

type imageTree struct{ *image.Source }

// Walk walks the file systems of the image.
func (t imageTree) Walk(ctx context.Context) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		for n, err := range t.Source.Walk(ctx) {
			if err != nil {
				yield(Node{}, err)
				return
			}
			if !yield(t.node(n), nil) {
				return
			}
		}
	}
}

func (t imageTree) node(n filesystem.Node) Node {
	return Node{
		Path: n.Path, Mode: n.Mode, UID: n.UID, GID: n.GID, Size: n.Size, FSName: n.Reader.Facts().Type,
		Readlink: func() (string, error) { return t.Readlink(&n) },
		Open:     func() (Content, error) { return t.Open(&n) },
	}
}
