package image

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// isFAT tests what the kernel does (fs/fat/inode.c, fat_read_bpb): a boot sector that is
// not the table of a disk.
func isFAT(p *probe) bool {
	b := p.at(0, 512)
	if b == nil || b[510] != 0x55 || b[511] != 0xaa || b[0] != 0xeb && b[0] != 0xe9 {
		return false
	}
	powerOf2 := func(n, from, to int) bool { return n >= from && n <= to && n&(n-1) == 0 }
	return powerOf2(int(binary.LittleEndian.Uint16(b[11:])), 512, 4096) && powerOf2(int(b[13]), 1, 128) &&
		binary.LittleEndian.Uint16(b[14:]) != 0 && b[16] != 0 && (b[21] == 0xf0 || b[21] >= 0xf8)
}

// isJFFS2 tests the first node's magic and type, in both byte orders (linux/jffs2.h).
func isJFFS2(p *probe) bool {
	b := p.at(0, 4)
	if b == nil {
		return false
	}
	kinds := []uint16{0xe001, 0xe002, 0x2003, 0x2004, 0x2006, 0xe008, 0xe009}
	order := binary.ByteOrder(binary.LittleEndian)
	if b[0] == 0x19 {
		order = binary.BigEndian
	}
	return order.Uint16(b) == 0x1985 && slices.Contains(kinds, order.Uint16(b[2:]))
}

// isCramfs looks for the superblock at the beginning or behind a boot sector.
func isCramfs(p *probe) bool {
	is := func(offset int64) bool {
		return (p.has(offset, "\x45\x3d\xcd\x28") || p.has(offset, "\x28\xcd\x3d\x45")) && p.has(offset+16, "Compressed ROMFS")
	}
	return is(0) || is(512)
}

// isUDF looks for the descriptor of UDF in the volume recognition sequence.
func isUDF(p *probe) bool {
	for i := range int64(16) {
		if at := 32<<10 + i*2048 + 1; p.has(at, "NSR02") || p.has(at, "NSR03") {
			return true
		}
	}
	return false
}

// isSwap looks at the end of a page, which has 4 to 64 KiB.
func isSwap(p *probe) bool {
	for page := int64(4 << 10); page <= 64<<10; page *= 2 {
		if p.has(page-10, "SWAPSPACE2") || p.has(page-10, "SWAP-SPACE") {
			return true
		}
	}
	return false
}

// isLVM looks for a label in the first four sectors.
func isLVM(p *probe) bool {
	for sector := range int64(4) {
		if p.has(sector*512, "LABELONE") && p.has(sector*512+24, "LVM2 001") {
			return true
		}
	}
	return false
}

// isRAID looks for the superblock of versions 1.1 and 1.2, which is at the beginning, and
// of 1.0 and 0.90, at the end.
func isRAID(p *probe) bool {
	const superblock = "\xfc\x4e\x2b\xa9"
	return p.has(0, superblock) || p.has(4096, superblock) || raidBehind(p)
}

// raidBehind looks for the superblock of a mirror whose content begins at byte 0.
func raidBehind(p *probe) bool {
	const superblock, swapped = "\xfc\x4e\x2b\xa9", "\xa9\x2b\x4e\xfc"
	sectors := p.size / 512
	v1, v0 := (sectors-16)&^7*512, (sectors&^127-128)*512
	return v1 > 0 && p.has(v1, superblock) || v0 > 0 && (p.has(v0, superblock) || p.has(v0, swapped))
}

// isSWU tests the name of the first member.
func isSWU(p *probe) bool {
	const header, name = 110, "sw-description\x00"
	size, err := strconv.ParseUint(string(p.at(94, 8)), 16, 32)
	return (p.has(0, "070701") || p.has(0, "070702")) && err == nil && size == uint64(len(name)) && p.has(header, name)
}

// isIPK tests for a package of opkg-build, which uses GNU ar or tar. GNU ar ends names with
// a slash, and dpkg-deb does not.
func isIPK(p *probe) bool {
	if p.has(257, "ustar") {
		name, _, _ := strings.Cut(string(p.at(0, 100)), "\x00")
		return strings.TrimPrefix(name, "./") == "debian-binary"
	}
	return p.has(0, "!<arch>\ndebian-binary/")
}

// isRAUC tests for a CMS message and its length behind the content, as RAUC's
// src/bundle.c writes them. The content is a squashfs, which format crypt encrypts.
func isRAUC(p *probe) bool {
	const most = 8 << 20 // bytes of a message
	tail := p.at(-8, 8)
	if tail == nil {
		return false
	}
	size := binary.BigEndian.Uint64(tail)
	if size < 64 || size > most || size > uint64(p.size-8) {
		return false
	}
	b := p.at(-8-int64(size), 32)
	if b == nil || b[0] != 0x30 || b[1] < 0x81 || b[1] > 0x84 {
		return false
	}
	n, length := int(b[1]-0x80), uint64(0)
	for _, digit := range b[2 : 2+n] {
		length = length<<8 | uint64(digit)
	}
	oid := b[2+n:]
	return length == size-2-uint64(n) && bytes.HasPrefix(oid, []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07")) && (oid[10] == 2 || oid[10] == 3)
}

// isKernel tests for the headers of x86, ARM, ARM-64 and RISC-V
// (Documentation/arch/*/booting.rst).
func isKernel(p *probe) bool {
	return p.has(0x202, "HdrS") || p.has(0x24, "\x18\x28\x6f\x01") || p.has(0x38, "ARM\x64") || p.has(0x38, "RSC\x05")
}
