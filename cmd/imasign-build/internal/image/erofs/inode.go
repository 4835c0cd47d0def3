package erofs

import (
	"math"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/stmode"
)

// Sizes and units of inodes, in bytes.
const (
	inodeUnit    = 32 // of a nid, and the size of a compact inode
	extendedSize = 64
)

// Layouts of content.
const (
	flatPlain = iota
	compressedLegacy
	flatInline
	compressedCompact
	chunkBased
)

// Bits of i_format.
const (
	formatExtended = 1 << 0
	formatSpecial  = 1 << 4 // a compact inode with one name; a directory without "."
	formatKnown    = 1<<5 - 1
)

// noBlock is a hole.
const noBlock = math.MaxInt64

// node is an inode: struct erofs_inode_compact or struct erofs_inode_extended.
type node struct {
	filesystem.Inode

	id     filesystem.ID
	layout int
	union  uint32 // first block, chunk format, device number, or blocks in all
	start  int64  // first block of a flat file, or noBlock
	xattrs int64  // position of the xattrs
	body   int64  // position behind the xattrs
}

func (n *node) compressed() bool {
	return n.layout == compressedLegacy || n.layout == compressedCompact
}

func (f *FileSystem) node(id filesystem.ID) (*node, error) {
	if id > filesystem.ID(f.size/inodeUnit) {
		return nil, filesystem.Corrupt("inode %d is outside of the image", id)
	}
	at := f.metadata + int64(id)*inodeUnit
	b := make([]byte, extendedSize)
	if err := f.readAt(b[:inodeUnit], at); err != nil {
		return nil, err
	}
	format := u16(b, 0)
	n := &node{id: id, layout: int(format >> 1 & 7), union: u32(b, 16)}
	if format&^formatKnown != 0 || n.layout > chunkBased {
		return nil, filesystem.Unsupported("inodes of format %#x", format)
	}
	n.xattrs = at + inodeUnit
	if format&formatExtended != 0 {
		if err := f.readAt(b[inodeUnit:], at+inodeUnit); err != nil {
			return nil, err
		}
		n.xattrs = at + extendedSize
		n.Size, n.Links, n.UID, n.GID = int64(u64(b, 8)), uint64(u32(b, 44)), u32(b, 24), u32(b, 28)
	} else {
		n.Size, n.Links, n.UID, n.GID = int64(u32(b, 8)), uint64(u16(b, 6)), uint32(u16(b, 24)), uint32(u16(b, 26))
	}
	n.body = n.xattrs
	if count := int64(u16(b, 2)); count > 0 {
		n.body += xattrHeader + (count-1)*4
	}
	return n, n.decodeMode(u16(b, 4), format, u16(b, 6))
}

// decodeMode decodes what depends on the type of the file. high are the bits of the first
// block above 32, or the number of names.
func (n *node) decodeMode(mode, format, high uint16) error {
	n.Mode = stmode.FileMode(uint32(mode))
	device := false
	switch mode & 0o170000 {
	case 0o100000, 0o040000, 0o120000:
	case 0o020000, 0o060000:
		device = true
	case 0o010000, 0o140000:
		n.Size = 0
	default:
		return filesystem.Corrupt("a file of type %o", mode&0o170000)
	}
	if device {
		n.Major, n.Minor = n.union>>8&0xfff, n.union&0xff|n.union>>12&0xfff00
		n.Size = 0
	}
	if n.Size < 0 {
		return filesystem.Corrupt("a size of %d bytes", uint64(n.Size))
	}
	n.start = int64(n.union)
	empty := int64(math.MaxUint32)
	switch {
	case format&formatExtended != 0:
		n.start, empty = n.start|int64(high)<<32, 1<<48-1
	case format&formatSpecial != 0 && !n.Mode.IsDir():
		n.start, empty, n.Links = n.start|int64(high)<<32, 1<<48-1, 1
	}
	if n.layout == flatPlain && n.start == empty {
		n.start = noBlock
	}
	return nil
}
