package image

import (
	"encoding/binary"
	"math/bits"
)

const (
	// superblock is where the superblocks of ext4 and EROFS are, and the size of the former.
	superblock  = 1024
	erofsMagic  = "\xe2\xe1\xf5\xe0"
	verityMagic = "verity\x00\x00"
)

// isExt tests the magic and some numbers, because the magic has only two bytes.
func isExt(p *probe) bool {
	b, ok := extSuperblock(p)
	return ok && binary.LittleEndian.Uint32(b[0x60:])&8 == 0
}

// isJournal tests for an external journal of ext4, which has its superblock.
func isJournal(p *probe) bool {
	_, ok := extSuperblock(p)
	return ok // isExt comes first
}

func extSuperblock(p *probe) ([]byte, bool) {
	b := p.at(superblock, superblock)
	if b == nil || binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 || p.has(superblock, erofsMagic) {
		return nil, false
	}
	logBlock, perGroup := binary.LittleEndian.Uint32(b[0x18:]), binary.LittleEndian.Uint32(b[0x20:])
	return b, logBlock <= 6 && perGroup != 0 && binary.LittleEndian.Uint32(b[0x4c:]) <= 1
}

// extVersion names a superblock as blkid does, by the features that ext3 and ext2 lack.
func extVersion(b []byte) string {
	compat, incompat, readOnly := binary.LittleEndian.Uint32(b[0x5c:]), binary.LittleEndian.Uint32(b[0x60:]), binary.LittleEndian.Uint32(b[0x64:])
	const journal, fileType, recover, metaBG = 4, 2, 4, 0x10
	switch {
	case incompat&^(fileType|recover|metaBG) != 0 || readOnly&^7 != 0:
		return "ext4"
	case compat&journal != 0:
		return "ext3"
	}
	return "ext2"
}

// extEnd returns the number of bytes of an ext4 file system.
func extEnd(p *probe) int64 {
	b := p.at(superblock, superblock)
	blocks := uint64(binary.LittleEndian.Uint32(b[4:]))
	if binary.LittleEndian.Uint32(b[0x60:])&0x80 != 0 { // 64bit
		blocks |= uint64(binary.LittleEndian.Uint32(b[0x150:])) << 32
	}
	return shifted(blocks, 10+uint(binary.LittleEndian.Uint32(b[0x18:])))
}

// squashfsEnd returns the number of bytes of a squashfs file system.
func squashfsEnd(p *probe) int64 {
	b := p.at(40, 8)
	if b == nil {
		return -1
	}
	return shifted(binary.LittleEndian.Uint64(b), 0)
}

// erofsEnd returns the number of bytes of an EROFS file system.
func erofsEnd(p *probe) int64 {
	b := p.at(superblock, 128)
	if b == nil {
		return -1
	}
	return shifted(uint64(binary.LittleEndian.Uint32(b[36:])), uint(b[12]))
}

// shifted returns n<<shift, or -1 if that is no offset.
func shifted(n uint64, shift uint) int64 {
	if shift >= 63 || bits.Len64(n)+int(shift) > 62 {
		return -1
	}
	return int64(n << shift)
}

// seal returns what is behind a file system of a size in bytes.
func (p *probe) seal(end int64) string {
	const block, avbFooter = 4096, 64
	switch {
	case p.has(-avbFooter, "AVBf"):
		return "a footer of Android Verified Boot"
	case end <= 0:
		return ""
	case raidBehind(p):
		return "a superblock of an MD RAID"
	}
	aligned := (end + block - 1) / block * block
	for _, at := range []int64{end, aligned} {
		if p.has(at, verityMagic) {
			return "a dm-verity hash tree"
		}
	}
	if b := p.at(end, int(max(0, min(2*block, p.size-end)))); !zeros(b) {
		return "data of an unknown format"
	}
	return ""
}
