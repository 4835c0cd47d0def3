package squashfs

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/stmode"
)

// The types of inodes. Those after typeSocket are the extended forms of those before, in
// the same order.
const (
	typeDirectory = 1 + iota
	typeFile
	typeSymlink
	typeBlockDevice
	typeCharDevice
	typeFIFO
	typeSocket
	types = typeSocket
)

// inode is an inode of any type.
type inode struct {
	kind     int // one of the types above, never an extended one
	number   uint32
	mode     uint32
	uid, gid uint32
	links    uint32
	size     int64
	device   uint32
	xattrs   uint32 // index of the set of xattrs, or noIndex

	start    uint64 // of content in the image, or of a directory's block in the directory table
	offset   uint32 // of the tail in the fragment, or of the directory in the decoded block
	fragment uint32 // index, or noIndex
	indexes  int    // of a directory

	rest cursor // the sizes of the data blocks, the target of a symbolic link, or indexes
}

// layout is the part of an inode that depends on its type: how many bytes it has, and
// what parses them.
type layout struct {
	size  int
	parse func(in *inode, b []byte)
}

// layouts are the structures squashfs_*_inode of fs/squashfs/squashfs_fs.h, without what
// all have in common.
func layouts(kind uint16) layout {
	switch kind {
	case typeDirectory:
		return layout{16, func(in *inode, b []byte) {
			in.start, in.links, in.size, in.offset = uint64(u32(b)), u32(b[4:]), int64(u16(b[8:])), uint32(u16(b[10:]))
		}}
	case types + typeDirectory:
		return layout{24, func(in *inode, b []byte) {
			in.links, in.size, in.start = u32(b), int64(u32(b[4:])), uint64(u32(b[8:]))
			in.indexes, in.offset, in.xattrs = int(u16(b[16:])), uint32(u16(b[18:])), u32(b[20:])
		}}
	case typeFile:
		return layout{16, func(in *inode, b []byte) {
			in.links, in.start, in.fragment, in.offset, in.size = 1, uint64(u32(b)), u32(b[4:]), u32(b[8:]), int64(u32(b[12:]))
		}}
	case types + typeFile:
		return layout{40, func(in *inode, b []byte) {
			in.start, in.size = binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:])) // b[16:] is what holes save
			in.links, in.fragment, in.offset, in.xattrs = u32(b[24:]), u32(b[28:]), u32(b[32:]), u32(b[36:])
		}}
	case typeSymlink, types + typeSymlink: // xattrs of the extended form follow the target
		return layout{8, func(in *inode, b []byte) { in.links, in.size = u32(b), int64(u32(b[4:])) }}
	case typeBlockDevice, typeCharDevice:
		return layout{8, func(in *inode, b []byte) { in.links, in.device = u32(b), u32(b[4:]) }}
	case types + typeBlockDevice, types + typeCharDevice:
		return layout{12, func(in *inode, b []byte) { in.links, in.device, in.xattrs = u32(b), u32(b[4:]), u32(b[8:]) }}
	case typeFIFO, typeSocket:
		return layout{4, func(in *inode, b []byte) { in.links = u32(b) }}
	case types + typeFIFO, types + typeSocket:
		return layout{8, func(in *inode, b []byte) { in.links, in.xattrs = u32(b), u32(b[4:]) }}
	}
	return layout{}
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// inode decodes an inode.
func (f *FileSystem) inode(id filesystem.ID) (inode, error) {
	c, err := f.cursorAt(f.inodeTable, uint64(id))
	if err != nil {
		return inode{}, err
	}
	b, err := c.next(16)
	if err != nil {
		return inode{}, err
	}
	kind := u16(b)
	l := layouts(kind)
	if l.parse == nil {
		return inode{}, filesystem.Corrupt("an inode of type %d", kind)
	}
	in := inode{kind: int(kind-1)%types + 1, number: u32(b[12:]), fragment: noIndex, xattrs: noIndex}
	mode := uint32(u16(b[2:]))
	if in.mode = mode | typeBits(in.kind); in.mode&^0o7777 != typeBits(in.kind) { // the kernel would mix two types
		return inode{}, filesystem.Corrupt("mode %06o of an inode of type %d", mode, kind)
	}
	if in.uid, in.gid, err = f.ownersOf(u16(b[4:]), u16(b[6:])); err != nil {
		return inode{}, err
	}
	if b, err = c.next(l.size); err != nil {
		return inode{}, err
	}
	l.parse(&in, b)
	in.rest = c
	return in, in.finish(kind > types)
}

// finish checks the size, and reads what follows the target of a symbolic link.
func (in *inode) finish(extended bool) error {
	if in.size < 0 {
		return filesystem.Corrupt("a file of %d bytes", uint64(in.size))
	}
	if in.kind != typeSymlink {
		return nil
	}
	if in.size == 0 || in.size > maxTarget {
		return filesystem.Corrupt("a symbolic link with a target of %d bytes", in.size)
	}
	if !extended {
		return nil
	}
	c := in.rest
	_, err := c.next(int(in.size))
	if err == nil {
		in.xattrs, err = c.uint32()
	}
	return err
}

const maxTarget = 4095 // bytes; PATH_MAX without its zero

// typeBits returns the type of an inode as st_mode has it.
func typeBits(kind int) uint32 {
	return [...]uint32{0, 0o040000, 0o100000, 0o120000, 0o060000, 0o020000, 0o010000, 0o140000}[kind]
}

func (f *FileSystem) ownersOf(user, group uint16) (uid, gid uint32, err error) {
	if int(max(user, group)) >= len(f.owners) {
		return 0, 0, filesystem.Corrupt("owner %d of %d", max(user, group), len(f.owners))
	}
	return f.owners[user], f.owners[group], nil
}

// Inode decodes an inode.
func (f *FileSystem) Inode(id filesystem.ID) (filesystem.Inode, error) {
	in, err := f.inode(id)
	if err != nil {
		return filesystem.Inode{}, err
	}
	out := filesystem.Inode{Mode: stmode.FileMode(in.mode), UID: in.uid, GID: in.gid, Links: uint64(in.links)}
	switch in.kind {
	case typeFile, typeSymlink:
		out.Size = in.size
	case typeBlockDevice, typeCharDevice: // new_decode_dev of the kernel
		out.Major, out.Minor = in.device>>8&0xfff, in.device&0xff|in.device>>12&0xfff00
	}
	return out, nil
}

// Readlink returns the target of a symbolic link.
func (f *FileSystem) Readlink(id filesystem.ID) (string, error) {
	in, err := f.inode(id)
	if err != nil {
		return "", err
	}
	if in.kind != typeSymlink {
		return "", filesystem.Corrupt("not a symbolic link")
	}
	b, err := in.rest.next(int(in.size))
	if err != nil {
		return "", err
	}
	target := string(b)
	if strings.IndexByte(target, 0) >= 0 {
		return "", filesystem.Corrupt("a symbolic link with a zero byte in its target")
	}
	return target, nil
}

// blockCount returns how many data blocks a file has besides its tail.
func (f *FileSystem) blockCount(in *inode) int64 {
	n := in.size / f.blockSize
	if in.fragment == noIndex && in.size%f.blockSize != 0 && n < math.MaxInt64 {
		n++
	}
	return n
}
