// Package ext4 reads file systems of the types ext2, ext3 and ext4, as the kernel shows
// them to root.
//
// What the kernel refuses to read is an error here too: checksums of metadata that do not
// match, blocks outside the file system, unknown incompatible features. So are journals
// that have to be replayed first, and what cannot be read without more than the image:
// encrypted and casefolded directories. The package leaves to others what all file systems
// have in common, such as the names and loops of directories (package filesystem).
//
// All numbers on disk are little-endian. The format is that of fs/ext4 in Linux; offsets in
// structures are those of struct ext4_super_block, ext4_inode and so on in fs/ext4/ext4.h.
package ext4

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

var le = binary.LittleEndian

// Inode numbers of the root directory, and of the first file that is not reserved in file
// systems of revision 0.
const (
	rootInode     = 2
	firstOldInode = 11
)

// FileSystem is one ext2, ext3 or ext4 file system. It implements [filesystem.Reader].
type FileSystem struct {
	superblock

	r        io.ReaderAt
	tables   []uint64 // first block of the inode table of each group
	cache    cache
	dirBytes atomic.Int64 // bytes of directories that were read
}

var _ filesystem.Reader = (*FileSystem)(nil)

// Open opens the file system that is size bytes large in r. It reads the superblock and
// the group descriptors.
func Open(r io.ReaderAt, size int64) (*FileSystem, error) {
	b := make([]byte, superblockSize)
	if size < superblockOffset+superblockSize {
		return nil, filesystem.Corrupt("%d bytes are too few for a superblock", size)
	}
	if err := readFull(r, b, superblockOffset); err != nil {
		return nil, err
	}
	f := &FileSystem{r: r}
	if err := f.parse(b, size); err != nil {
		return nil, err
	}
	f.cache.init(r, int(f.blockSize))
	if err := f.readGroups(); err != nil {
		return nil, err
	}
	return f, nil
}

// Facts describe the file system. Its type is the one that blkid prints, features have the
// names of e2fsprogs.
func (f *FileSystem) Facts() filesystem.Facts {
	return filesystem.Facts{
		Type: f.kind(), Label: f.label, UUID: f.uuid, Features: f.features.names(),
		BlockSize: f.blockSize, Size: int64(f.blocks) * f.blockSize,
	}
}

// Root returns the ID of the root directory. IDs are inode numbers.
func (f *FileSystem) Root() filesystem.ID { return rootInode }

// valid reports whether n blocks from start are blocks that files can have.
func (f *FileSystem) valid(start, n uint64) bool {
	return start > uint64(f.firstBlock) && start < f.blocks && n <= f.blocks-start
}

// readBlock reads a block into b, which is one block long.
func (f *FileSystem) readBlock(block uint64, b []byte) error {
	if !f.valid(block, 1) {
		return filesystem.Corrupt("block %d of %d", block, f.blocks)
	}
	return readFull(f.r, b, int64(block)*f.blockSize)
}

// readFull fills b from offset. The caller has compared both with the size of the image.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
