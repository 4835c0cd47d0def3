package ext4

import (
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/xattrspace"
)

// Space is the space for xattrs of an inode.
type Space struct {
	// Room is what is free. Without an xattr block, it has the space in a new one.
	xattrspace.Room

	// Sharers is the number of inodes that share the xattr block, zero without a block. A
	// change needs a free block (a cluster, with bigalloc) unless it is 1.
	Sharers uint32
}

// Layout returns what decides where xattrs are stored.
func (f *FileSystem) Layout() xattrspace.Ext {
	return xattrspace.Ext{Block: int(f.blockSize), Inode: int(f.inodeSize), EAInode: f.features.incompat&eaInodes != 0}
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
	extra := in.extra
	if extra == 0 { // libext2fs sets it when it writes
		extra = max(int(f.wantExtra), 4)
	}
	room := f.Layout().New()
	room.Inode = max(f.Layout().InInode(extra)-occupied(body, without), 0)
	room.Block -= occupied(block, without)
	return Space{room, sharers}, nil
}

// occupied returns the bytes that xattrs occupy, without some.
func occupied(list []attribute, without []string) (n int) {
	for _, a := range list {
		if !slices.Contains(without, prefixes[a.index]+string(a.name)) {
			n += xattrspace.Value{Name: string(a.name), Size: len(a.value)}.Bytes()
		}
	}
	return n
}

// FreeBlocks returns how many blocks are free, as the superblock states.
func (f *FileSystem) FreeBlocks() uint64 { return f.freeBlocks }

// FreeInodes returns how many inodes are free, as the superblock states.
func (f *FileSystem) FreeInodes() uint64 { return uint64(f.freeInodes) }

// Inodes returns how many inodes there are.
func (f *FileSystem) Inodes() uint64 { return uint64(f.inodes) }
