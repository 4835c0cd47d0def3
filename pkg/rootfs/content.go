package rootfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// opener returns the Open of an entry that the walk found in the state stamp.
func (t *Tree) opener(path string, mode fs.FileMode, stamp tree.Stamp) func(context.Context) (*signing.File, error) {
	return func(context.Context) (*signing.File, error) {
		c, err := t.tree.OpenContent(path, stamp)
		if err != nil {
			return nil, err
		}
		xattrs, err := t.complete(c.File(), path, mode)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return &signing.File{ReadCloser: c, Xattrs: xattrs}, nil
	}
}

// complete returns the file's xattrs, or an Unselected.
func (t *Tree) complete(f *os.File, path string, mode fs.FileMode) (map[string][]byte, error) {
	if t.selection == Executable && !selectedByName(path, mode) {
		elf, err := isELF(f)
		if err != nil {
			return nil, err
		}
		if !elf {
			return nil, signing.Unselected{Reason: notExecutable}
		}
	}
	return t.tree.FileXattrs(f, path, "security.")
}

// notExecutable is the Reason of what the Selection Executable leaves out.
const notExecutable = "not executable"

// looksExecutable reports whether the node's content is an ELF file.
func (t *Tree) looksExecutable(n *tree.Node) (bool, error) {
	c, err := t.tree.OpenContent(n.Path, n.Stamp)
	if err != nil {
		return false, err
	}
	defer c.Close() //nolint:errcheck // opened for reading
	return isELF(c.File())
}

// isELF fails where the file cannot be read: taken for no ELF file, it would
// silently stay unsigned.
func isELF(f *os.File) (bool, error) {
	var magic [4]byte
	_, err := f.ReadAt(magic[:], 0)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return string(magic[:]) == "\x7fELF", err
}
