package erofs

import (
	"bytes"
	"io/fs"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	direntSize = 12   // bytes, without the name
	maxTarget  = 4095 // bytes of the target of a symbolic link
)

// ReadDir passes take the names in a directory, in byte order.
func (f *FileSystem) ReadDir(id filesystem.ID, take func(filesystem.Dirent) error) error {
	n, err := f.node(id)
	if err != nil {
		return err
	}
	if !n.Mode.IsDir() {
		return filesystem.Corrupt("it is not a directory")
	}
	c := f.content(n)
	defer c.release()
	d := directory{take: take}
	block := make([]byte, f.blockSize())
	for at := int64(0); at < n.Size; at += int64(len(block)) {
		block = block[:min(n.Size-at, f.blockSize())]
		if m, err := c.ReadAt(block, at); m < len(block) {
			return noEOF(err)
		}
		if err := d.block(block); err != nil {
			return err
		}
	}
	return nil
}

// directory lists the blocks of a directory.
type directory struct {
	take func(filesystem.Dirent) error
	last string // name
}

// block lists one block: an array of struct erofs_dirent, and the names behind it.
func (d *directory) block(b []byte) error {
	if len(b) < direntSize {
		return filesystem.Corrupt("a directory block of %d bytes", len(b))
	}
	names := int(u16(b, 8)) // where the first name begins
	if names == 0 || names%direntSize != 0 || names > len(b) {
		return filesystem.Corrupt("a directory block with names at %d", names)
	}
	from := names
	for at := 0; at < names; at += direntSize {
		to := len(b)
		if at+direntSize < names {
			to = int(u16(b, at+direntSize+8))
		}
		if to <= from || to > len(b) {
			return filesystem.Corrupt("a name from %d to %d in a directory block of %d bytes", from, to, len(b))
		}
		name := b[from:to]
		if end := bytes.IndexByte(name, 0); end >= 0 && at+direntSize == names {
			name = name[:end] // the last one may be padded
		}
		if err := d.name(string(name), filesystem.ID(u64(b, at))); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// name lists one name. The kernel finds names by binary search.
func (d *directory) name(name string, id filesystem.ID) error {
	if name <= d.last {
		return filesystem.Corrupt("the name %s is out of order", quote.Name(name))
	}
	d.last = name
	if name == "." || name == ".." {
		return nil
	}
	return d.take(filesystem.Dirent{Name: name, ID: id})
}

// Readlink returns the target of a symbolic link.
func (f *FileSystem) Readlink(id filesystem.ID) (string, error) {
	n, err := f.node(id)
	if err != nil {
		return "", err
	}
	if n.Mode.Type() != fs.ModeSymlink {
		return "", filesystem.Corrupt("it is not a symbolic link")
	}
	if n.Size < 1 || n.Size > maxTarget {
		return "", filesystem.Corrupt("a symbolic link with a target of %d bytes", n.Size)
	}
	c := f.content(n)
	defer c.release()
	target := make([]byte, n.Size)
	if m, err := c.ReadAt(target, 0); m < len(target) {
		return "", noEOF(err)
	}
	if bytes.IndexByte(target, 0) >= 0 {
		return "", filesystem.Corrupt("a symbolic link with a NUL in its target")
	}
	return string(target), nil
}
