package ext4

import (
	"fmt"
	"io/fs"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/stmode"
)

// Flags of inodes.
const (
	flagCompressed = 0x200 // of e2compr; 0x4 is only the wish to be compressed
	flagEncrypted  = 0x800
	flagIndex      = 0x1000
	flagHugeFile   = 0x40000
	flagExtents    = 0x80000
	flagEAInode    = 0x200000
	flagInline     = 0x10000000
	flagCasefold   = 0x40000000
)

// File types in a mode.
const (
	typeMask    = 0o170000
	typeSymlink = 0o120000
	typeFile    = 0o100000
	typeDir     = 0o040000
)

// inode is a decoded struct ext4_inode.
type inode struct {
	fs     *FileSystem
	number uint32
	raw    []byte // inodeSize bytes
	extra  int    // bytes of fields beyond 128
	seed   uint32 // of the checksums of its blocks
	mode   uint16
	flags  uint32
	size   int64
	xattrs uint64 // the block with xattrs; zero for none
	inline *attribute
}

// Inode decodes an inode.
func (f *FileSystem) Inode(id filesystem.ID) (filesystem.Inode, error) {
	in, err := f.file(id)
	if err != nil {
		return filesystem.Inode{}, err
	}
	low, high := in.raw[:0x70], in.raw[0x78:0x80]
	n := filesystem.Inode{
		Mode: stmode.FileMode(uint32(in.mode)), Size: in.size, Links: uint64(le.Uint16(low[0x1A:])),
		UID: uint32(le.Uint16(low[0x02:])) | uint32(le.Uint16(high))<<16,
		GID: uint32(le.Uint16(low[0x18:])) | uint32(le.Uint16(high[2:]))<<16,
	}
	if n.Mode&fs.ModeDevice != 0 {
		n.Major, n.Minor = in.device()
	}
	return n, nil
}

// device returns the number of a device node, in its old or new encoding.
func (in *inode) device() (major, minor uint32) {
	if old := le.Uint32(in.blockMap()); old != 0 {
		return old >> 8 & 0xFF, old & 0xFF
	}
	d := le.Uint32(in.blockMap()[4:])
	return d & 0xFFF00 >> 8, d&0xFF | d>>12&0xFFF00
}

// blockMap returns the 60 bytes with pointers to blocks, or data.
func (in *inode) blockMap() []byte { return in.raw[0x28:0x64] }

// file decodes the inode of a file that a directory may have.
func (f *FileSystem) file(id filesystem.ID) (*inode, error) {
	if id > filesystem.ID(f.inodes) || id < filesystem.ID(f.firstInode) && id != rootInode {
		return nil, filesystem.Corrupt("inode %d of %d", id, f.inodes)
	}
	for _, reserved := range f.reservedInodes {
		if uint32(id) == reserved {
			return nil, filesystem.Corrupt("inode %d is reserved", id)
		}
	}
	in, err := f.decode(uint32(id))
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", id, err)
	}
	return in, nil
}

// check refuses what the kernel refuses, and what it shows only with a key.
func (in *inode) check() error {
	switch {
	case in.flags&flagEncrypted != 0:
		return filesystem.Unsupported("encrypt")
	case in.flags&flagCasefold != 0:
		return filesystem.Unsupported("casefold")
	case in.flags&flagCompressed != 0:
		return filesystem.Unsupported("compression")
	case in.flags&flagEAInode != 0:
		return filesystem.Corrupt("it is the value of an xattr")
	case stmode.FileMode(uint32(in.mode)).IsRegular() && in.mode&typeMask != typeFile:
		return filesystem.Corrupt("mode %06o", in.mode)
	}
	return in.checkPointers()
}

// checkPointers checks all direct pointers to blocks, even those behind the end of a file, as
// ext4_ind_check_inode in fs/ext4/block_validity.c does.
func (in *inode) checkPointers() error {
	kind := in.mode & typeMask
	if in.flags&(flagExtents|flagInline) != 0 || kind != typeFile && kind != typeDir && (kind != typeSymlink || in.inInode()) {
		return nil
	}
	for i := range direct {
		if block := uint64(le.Uint32(in.blockMap()[4*i:])); block != 0 && !in.fs.valid(block, 1) {
			return filesystem.Corrupt("a pointer to block %d of %d", block, in.fs.blocks)
		}
	}
	return nil
}

// decode reads an inode of any kind. number is in the range of numbers.
func (f *FileSystem) decode(number uint32) (*inode, error) {
	group, index := (number-1)/f.inodesPerGroup, int64((number-1)%f.inodesPerGroup)
	in := &inode{fs: f, number: number, raw: make([]byte, f.inodeSize)}
	offset := index * f.inodeSize
	if err := f.cache.copy(in.raw, f.tables[group]+uint64(offset/f.blockSize), int(offset%f.blockSize)); err != nil {
		return nil, err
	}
	if f.inodeSize > minInodeSize {
		in.extra = int(le.Uint16(in.raw[0x80:]))
	}
	if in.extra%4 != 0 || minInodeSize+in.extra > len(in.raw) {
		return nil, filesystem.Corrupt("%d extra bytes in an inode of %d", in.extra, len(in.raw))
	}
	in.seed = f.inodeSeed(number, in.raw)
	if err := f.checkInode(in.seed, in.raw, in.extra); err != nil {
		return nil, err
	}
	in.mode, in.flags = le.Uint16(in.raw), le.Uint32(in.raw[0x20:])
	if le.Uint16(in.raw[0x1A:]) == 0 {
		return nil, filesystem.Corrupt("it is not in use")
	}
	return in, in.locate()
}

// locate decodes the size and the places of content and xattrs.
func (in *inode) locate() (err error) {
	f := in.fs
	in.size = int64(le.Uint32(in.raw[0x04:]))
	if in.mode&typeMask == typeFile || f.features.incompat&largeDir != 0 {
		in.size |= int64(le.Uint32(in.raw[0x6C:])) << 32
	}
	if in.size < 0 || in.size > in.maxBlocks()*f.blockSize {
		return filesystem.Corrupt("a size of %d bytes", uint64(in.size))
	}
	in.xattrs = uint64(le.Uint32(in.raw[0x68:]))
	if f.features.incompat&bits64 != 0 {
		in.xattrs |= uint64(le.Uint16(in.raw[0x76:])) << 32
	}
	if in.xattrs != 0 && !f.valid(in.xattrs, 1) {
		return filesystem.Corrupt("xattrs in block %d of %d", in.xattrs, f.blocks)
	}
	if in.flags&flagInline != 0 {
		in.inline, err = in.findInline()
	}
	return err
}

// sectors returns the number of units of 512 bytes that the inode occupies.
func (in *inode) sectors() uint64 {
	n := uint64(le.Uint32(in.raw[0x1C:]))
	if in.fs.features.roCompat&hugeFile != 0 {
		n |= uint64(le.Uint16(in.raw[0x74:])) << 32
	}
	if in.flags&flagHugeFile != 0 {
		n *= uint64(in.fs.blockSize / 512)
	}
	return n
}
