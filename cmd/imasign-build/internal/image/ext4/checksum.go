package ext4

import (
	"hash/crc32"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// noBytes stand for a checksum's own field while it is calculated.
var noBytes = make([]byte, 4)

// checksum continues a CRC-32C over the parts. Unlike package crc32, ext4 does not invert
// the result.
func checksum(crc uint32, parts ...[]byte) uint32 {
	crc = ^crc
	for _, p := range parts {
		crc = crc32.Update(crc, castagnoli, p)
	}
	return ^crc
}

// parseChecksums compares the checksum of the superblock b, and keeps the seed of others.
func (s *superblock) parseChecksums(b []byte) error {
	const hurd = 1
	s.checksums = s.features.roCompat&metadataChecksum != 0
	s.inodeChecksums = s.checksums && le.Uint32(b[0x48:]) != hurd
	if s.checksumSeed = checksum(^uint32(0), b[0x68:0x78]); s.features.incompat&seedStored != 0 {
		s.checksumSeed = le.Uint32(b[0x270:])
	}
	if !s.checksums {
		return nil
	}
	if kind := b[0x175]; kind != checksumCRC32C {
		return filesystem.Unsupported("checksums of type %d", kind)
	}
	if checksum(^uint32(0), b[:0x3FC]) != le.Uint32(b[0x3FC:]) {
		return filesystem.Corrupt("the checksum of the superblock does not match")
	}
	return nil
}

// checkDescriptor compares the checksum of a group descriptor.
func (s *superblock) checkDescriptor(group uint64, d []byte) error {
	if !s.checksums {
		return nil
	}
	sum := checksum(s.checksumSeed, le.AppendUint32(nil, uint32(group)), d[:0x1E], noBytes[:2], d[0x20:])
	if uint16(sum) != le.Uint16(d[0x1E:]) {
		return filesystem.Corrupt("the checksum of the descriptor of group %d does not match", group)
	}
	return nil
}

// inodeSeed returns the seed of the checksums of an inode and its blocks.
func (s *superblock) inodeSeed(number uint32, raw []byte) uint32 {
	return checksum(s.checksumSeed, le.AppendUint32(nil, number), raw[0x64:0x68]) // generation
}

// checkInode compares the checksum of an inode. Its upper half exists if the inode has
// enough extra bytes.
func (s *superblock) checkInode(seed uint32, raw []byte, extra int) error {
	if !s.inodeChecksums {
		return nil
	}
	sum := checksum(seed, raw[:0x7C], noBytes[:2], raw[0x7E:0x80])
	stored := uint32(le.Uint16(raw[0x7C:]))
	switch {
	case extra >= 4:
		sum = checksum(sum, raw[0x80:0x82], noBytes[:2], raw[0x84:])
		stored |= uint32(le.Uint16(raw[0x82:])) << 16
	case len(raw) > minInodeSize:
		sum = checksum(sum, raw[0x80:]) & 0xFFFF
	default:
		sum &= 0xFFFF
	}
	if sum != stored {
		return filesystem.Corrupt("the checksum of the inode does not match")
	}
	return nil
}

// checkExtents compares the checksum of an extent block, which lies behind its entries.
func (s *superblock) checkExtents(seed uint32, b []byte) error {
	end := extentHeader + extentEntry*int(le.Uint16(b[4:]))
	if s.checksums && (end+4 > len(b) || checksum(seed, b[:end]) != le.Uint32(b[end:])) {
		return filesystem.Corrupt("the checksum of an extent block does not match")
	}
	return nil
}

// checkXattrs compares the checksum of an xattr block.
func (s *superblock) checkXattrs(block uint64, b []byte) error {
	if s.checksums && checksum(s.checksumSeed, le.AppendUint64(nil, block), b[:0x10], noBytes, b[0x14:]) != le.Uint32(b[0x10:]) {
		return filesystem.Corrupt("the checksum of xattr block %d does not match", block)
	}
	return nil
}

// checkIndex compares the checksum of a node of a directory's index, whose entries are at an
// offset of block b. The checksum is behind the space for limit entries.
func (s *superblock) checkIndex(seed uint32, b []byte, offset, limit, count int) error {
	if !s.checksums {
		return nil
	}
	tail := b[offset+limit*indexEntry:][:indexTail]
	if checksum(seed, b[:offset+count*indexEntry], tail[:4], noBytes) != le.Uint32(tail[4:]) {
		return filesystem.Corrupt("the checksum of the index of a directory does not match")
	}
	return nil
}
