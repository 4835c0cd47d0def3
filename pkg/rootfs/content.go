package rootfs

import (
	"context"
	"errors"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// opener returns the Open function of an entry. stamp is the file's state at the walk.
func (t *Tree) opener(path string, stamp tree.Stamp) func(context.Context) (*signing.File, error) {
	return func(context.Context) (*signing.File, error) {
		c, err := t.tree.OpenContent(path, stamp)
		if err != nil {
			return nil, err
		}
		xattrs, err := t.tree.FileXattrs(c.File(), path, "security.")
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return &signing.File{ReadCloser: c, Xattrs: xattrs}, nil
	}
}
