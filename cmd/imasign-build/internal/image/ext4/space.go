package ext4

import (
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// Space is the space for xattrs of an inode, in bytes as [XattrSize] counts them, by the
// rules of libext2fs, which debugfs uses: an xattr goes into the inode if it fits there,
// else into the xattr block.
type Space struct {
	// Inode is free in the inode itself.
	Inode int
	// Block is free in the inode's xattr block. Without such a block it is the space in a
	// new one.
	Block int
	// Sharers is the number of inodes that share the xattr block, zero without a block. A
	// change needs a free block (a cluster, with bigalloc) unless it is 1.
	Sharers uint32
}

// XattrSize returns the bytes that an xattr needs in an inode or xattr block. name is
// without its prefix: "ima" for security.ima.
func XattrSize(name string, value int) int {
	return roundUp(xattrEntry+len(name)) + roundUp(value)
}

// Space returns the space for xattrs of an inode, as if it did not have those that are
// named, such as "security.ima".
func (f *FileSystem) Space(id filesystem.ID, without ...string) (Space, error) {
	in, err := f.file(id)
	if err != nil {
		return Space{}, err
	}
	body, err := in.bodyAttributes()
	if err != nil {
		return Space{}, err
	}
	block, sharers, err := in.blockAttributes()
	if err != nil {
		return Space{}, err
	}
	s := Space{Block: int(f.blockSize) - xattrHeader - 4 - occupied(block, without), Sharers: sharers}
	if f.inodeSize > minInodeSize {
		extra := in.extra
		if extra == 0 { // libext2fs sets it when it writes
			extra = max(int(f.wantExtra), 4)
		}
		s.Inode = max(int(f.inodeSize)-minInodeSize-extra-xattrBodyHeader-4-occupied(body, without), 0)
	}
	return s, nil
}

// occupied returns the bytes that xattrs occupy, without some.
func occupied(list []attribute, without []string) (n int) {
	for _, a := range list {
		if !slices.Contains(without, prefixes[a.index]+string(a.name)) {
			n += XattrSize(string(a.name), len(a.value))
		}
	}
	return n
}

// FreeBlocks returns how many blocks are free, as the superblock states.
func (f *FileSystem) FreeBlocks() uint64 { return f.freeBlocks }

// InodeSize returns the size of an inode in bytes.
func (f *FileSystem) InodeSize() int { return int(f.inodeSize) }
