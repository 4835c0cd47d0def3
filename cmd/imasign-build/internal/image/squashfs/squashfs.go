// Package squashfs reads squashfs 4.0, as mksquashfs, sqfstar, tar2sqfs and gensquashfs
// make it and the kernel (fs/squashfs) mounts it. All numbers in an image are little-endian.
//
// The superblock points to tables, which consist of metadata blocks: the inodes, the
// directories, the owners, the fragments and the xattrs. Content is in data blocks, whose
// sizes follow each inode. The tails of files share data blocks, the fragments.
package squashfs

import (
	"fmt"
	"io"
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// FileSystem is an open image. It implements [filesystem.Reader]. An ID is the inode's
// reference: the position of its metadata block in the inode table, shifted left by 16
// bits, and its offset in the decoded block.
type FileSystem struct {
	superblock

	r        io.ReaderAt
	codec    codec
	owners   []uint32 // user and group ids, by index
	sets     xattrSets
	numbers  numbers
	metadata *cache[metadataBlock]
	fragment *cache[[]byte]
	blocks   sync.Pool // of *[]byte with BlockSize bytes
	decoders sync.Pool // of decoder
}

// These bounds keep the caches below 12 MiB.
const (
	cachedMetadata  = 256
	cachedFragments = 8 << 20 // bytes, unless eight blocks are more
)

// Open reads the superblock of an image of size bytes, and the tables that every inode
// needs. The image may be followed by padding.
func Open(r io.ReaderAt, size int64) (*FileSystem, error) {
	s, err := readSuperblock(r, size)
	if err != nil {
		return nil, err
	}
	f := &FileSystem{superblock: s, r: r, metadata: newCache[metadataBlock](cachedMetadata)}
	f.fragment = newCache[[]byte](min(max(8, cachedFragments/int(s.blockSize)), cachedMetadata))
	if f.codec, err = codecOf(s.compression); err != nil {
		return nil, err
	}
	f.blocks.New = func() any { b := make([]byte, s.blockSize); return &b }
	f.decoders.New = func() any { return f.codec.open(int(s.blockSize)) }
	if err := f.checkOptions(); err != nil {
		return nil, fmt.Errorf("options of the compressor: %w", err)
	}
	if err := f.readOwners(); err != nil {
		return nil, fmt.Errorf("owners: %w", err)
	}
	if f.sets, err = f.readXattrSets(); err != nil {
		return nil, fmt.Errorf("xattrs: %w", err)
	}
	return f, nil
}

// Facts returns what the superblock says. The features are the compressor and the options
// of mksquashfs.
func (f *FileSystem) Facts() filesystem.Facts {
	return filesystem.Facts{Type: "squashfs", Features: f.features(f.codec.name), BlockSize: f.blockSize, Size: f.used}
}

// Root returns the ID of the root directory.
func (f *FileSystem) Root() filesystem.ID { return filesystem.ID(f.root) }

// read fills b from an offset of the image.
func (f *FileSystem) read(b []byte, at int64) error {
	if at < 0 || at > f.used-int64(len(b)) {
		return filesystem.Corrupt("%d bytes at offset %d are not in the image", len(b), at)
	}
	if n, err := f.r.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("offset %d: %w", at, err)
	}
	return nil
}

// decode decodes src to dst and returns how many bytes it is. More than dst holds is an
// error.
func (f *FileSystem) decode(dst, src []byte) (int, error) {
	d := f.decoders.Get().(decoder)
	n, err := d.decode(dst, src)
	f.decoders.Put(d)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", f.codec.name, err)
	case n == 0:
		return 0, filesystem.Corrupt("%s: an empty block", f.codec.name)
	}
	return n, nil
}
