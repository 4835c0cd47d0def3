// Package erofs reads EROFS images, as mkfs.erofs and composefs write them, without
// mounting: names, metadata, xattrs, and content that is plain, inline, in chunks, or
// compressed with LZ4, LZMA, DEFLATE or Zstandard.
//
// It gives what the kernel gives (fs/erofs; the structures are in fs/erofs/erofs_fs.h).
// Structures that the kernel and this package could understand differently are errors.
// What this package does not read is an error with the name that mkfs.erofs uses: the
// 48-bit layout, compressed metadata, content on other devices.
package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// FileSystem is an EROFS image. It implements [filesystem.Reader].
type FileSystem struct {
	superblock

	r        io.ReaderAt
	size     int64    // of the image, in bytes
	prefixes []prefix // long prefixes of xattr names
	packed   *packed  // nil without fragments
	codecs   codecs
	buffers  sync.Pool // of *buffers
}

// Open reads the superblock of an image of size bytes.
func Open(r io.ReaderAt, size int64) (*FileSystem, error) {
	f := &FileSystem{r: r, size: size}
	err := f.readSuperblock()
	if err == nil {
		err = f.openPacked()
	}
	if err == nil {
		err = f.readPrefixes()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Facts describes the file system.
func (f *FileSystem) Facts() filesystem.Facts {
	return filesystem.Facts{
		Type: "erofs", Label: f.label, UUID: f.uuid, Features: f.names(),
		BlockSize: f.blockSize(), Size: f.blocks << f.blockBits,
	}
}

// Root returns the nid of the root directory.
func (f *FileSystem) Root() filesystem.ID { return f.root }

// Inode decodes an inode.
func (f *FileSystem) Inode(id filesystem.ID) (filesystem.Inode, error) {
	n, err := f.node(id)
	if err != nil {
		return filesystem.Inode{}, err
	}
	return n.Inode, nil
}

// readAt fills p from a position in the image.
func (f *FileSystem) readAt(p []byte, at int64) error {
	if at < 0 || at > f.size || int64(len(p)) > f.size-at {
		return filesystem.Corrupt("%d bytes at %d are outside of the image", len(p), at)
	}
	if n, err := f.r.ReadAt(p, at); n < len(p) {
		return fmt.Errorf("read the image at %d: %w", at, noEOF(err))
	}
	return nil
}

// noEOF is the error of something that is shorter than it was said to be.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return filesystem.Corrupt("%w", io.ErrUnexpectedEOF)
	}
	return err
}

// Numbers in an image are little-endian.

func u16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// roundUp rounds up to a multiple of a power of two.
func roundUp(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }
