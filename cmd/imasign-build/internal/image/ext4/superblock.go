package ext4

import (
	"bytes"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	superblockOffset = 1024
	superblockSize   = 1024

	magic          = 0xEF53
	maxLogBlock    = 6 // 64 KiB
	minInodeSize   = 128
	checksumCRC32C = 1
	// maxGroups limits the memory for the groups. It is enough for 64 TiB in blocks of
	// 4 KiB.
	maxGroups = 1 << 19
)

// superblock is what the reader needs of struct ext4_super_block.
type superblock struct {
	features features

	blockSize      int64
	blocks         uint64 // of the whole file system
	freeBlocks     uint64
	firstBlock     uint32 // that of group 0: 1 if blocks have 1 KiB, else 0
	blocksPerGroup uint32
	inodes         uint32
	freeInodes     uint32
	inodesPerGroup uint32
	firstInode     uint32 // the first one that is not reserved
	inodeSize      int64
	wantExtra      uint16 // bytes of an inode beyond 128 that new inodes reserve
	descriptorSize int64
	groups         uint64
	firstMetaGroup uint32
	backups        [2]uint32 // groups with a superblock, with sparse_super2
	clusterSize    int64     // the block size, unless there is bigalloc
	checksumSeed   uint32
	inodeChecksums bool
	label          string
	uuid           string
	reservedInodes [4]uint32 // of quotas and orphans, which no directory has
	checksums      bool
	hashSeed       [4]uint32 // of names in directories
	hashUnsigned   bool
}

// parse decodes the superblock b of an image of size bytes. Like the kernel, it refuses
// geometries that contradict themselves.
func (s *superblock) parse(b []byte, size int64) error {
	if le.Uint16(b[0x38:]) != magic {
		return filesystem.Corrupt("it has no superblock of ext2, ext3 or ext4")
	}
	s.features = features{compat: le.Uint32(b[0x5C:]), incompat: le.Uint32(b[0x60:]), roCompat: le.Uint32(b[0x64:])}
	if err := s.features.check(); err != nil {
		return err
	}
	if err := s.parseChecksums(b); err != nil {
		return err
	}
	for _, step := range []func([]byte) error{s.parseBlocks, s.parseInodes, s.parseGroups} {
		if err := step(b); err != nil {
			return err
		}
	}
	if s.blocks > uint64(size/s.blockSize) {
		return filesystem.Corrupt("%d blocks of %d bytes in %d bytes: the image is cut off", s.blocks, s.blockSize, size)
	}
	for i := range s.hashSeed {
		s.hashSeed[i] = le.Uint32(b[0xEC+4*i:])
	}
	s.hashUnsigned = le.Uint32(b[0x160:])&hashUnsigned != 0
	s.label = string(cString(b[0x78:0x88]))
	s.uuid = formatUUID(b[0x68:0x78])
	return nil
}

func (s *superblock) parseBlocks(b []byte) error {
	log, logCluster := le.Uint32(b[0x18:]), le.Uint32(b[0x1C:])
	if log > maxLogBlock || logCluster > 20 {
		return filesystem.Corrupt("blocks of 2^%d bytes in clusters of 2^%d", uint64(log)+10, uint64(logCluster)+10)
	}
	s.blockSize = 1024 << log
	s.clusterSize = s.blockSize
	if s.features.roCompat&bigalloc != 0 {
		s.clusterSize = 1024 << logCluster
	}
	if s.clusterSize < s.blockSize {
		return filesystem.Corrupt("clusters of %d bytes in blocks of %d", s.clusterSize, s.blockSize)
	}
	s.blocks = uint64(le.Uint32(b[0x04:]))
	s.freeBlocks = uint64(le.Uint32(b[0x0C:]))
	s.descriptorSize = 32
	if s.features.incompat&bits64 != 0 {
		s.blocks |= uint64(le.Uint32(b[0x150:])) << 32
		s.freeBlocks |= uint64(le.Uint32(b[0x158:])) << 32
		s.descriptorSize = int64(le.Uint16(b[0xFE:]))
		if s.descriptorSize < 64 || s.descriptorSize > 1024 || s.descriptorSize&(s.descriptorSize-1) != 0 {
			return filesystem.Corrupt("group descriptors of %d bytes", s.descriptorSize)
		}
	}
	s.firstBlock = le.Uint32(b[0x14:])
	if s.blocks >= 1<<47 || uint64(s.firstBlock) >= s.blocks {
		return filesystem.Corrupt("%d blocks, the first of which is %d", s.blocks, s.firstBlock)
	}
	return nil
}

func (s *superblock) parseInodes(b []byte) error {
	s.inodes, s.inodeSize, s.firstInode = le.Uint32(b), minInodeSize, firstOldInode
	if le.Uint32(b[0x4C:]) > 0 { // revision
		s.inodeSize, s.firstInode = int64(le.Uint16(b[0x58:])), le.Uint32(b[0x54:])
	}
	if s.inodeSize < minInodeSize || s.inodeSize > s.blockSize || s.inodeSize&(s.inodeSize-1) != 0 {
		return filesystem.Corrupt("inodes of %d bytes in blocks of %d", s.inodeSize, s.blockSize)
	}
	if s.firstInode < firstOldInode {
		return filesystem.Corrupt("the first inode is %d", s.firstInode)
	}
	s.freeInodes = le.Uint32(b[0x10:])
	s.wantExtra = le.Uint16(b[0x15E:])
	for i, at := range []int{0x240, 0x244, 0x26C, 0x280} { // users, groups, projects, orphans
		s.reservedInodes[i] = le.Uint32(b[at:])
	}
	return nil
}

func (s *superblock) parseGroups(b []byte) error {
	s.blocksPerGroup, s.inodesPerGroup = le.Uint32(b[0x20:]), le.Uint32(b[0x28:])
	perBlock := s.blockSize / s.inodeSize
	if clusters := int64(s.blocksPerGroup) / (s.clusterSize / s.blockSize); s.blocksPerGroup == 0 || clusters > 8*s.blockSize {
		return filesystem.Corrupt("%d blocks in a group", s.blocksPerGroup)
	}
	if n := int64(s.inodesPerGroup); n < perBlock || n > 8*s.blockSize || n%8 != 0 {
		return filesystem.Corrupt("%d inodes in a group", s.inodesPerGroup)
	}
	s.groups = (s.blocks - uint64(s.firstBlock) + uint64(s.blocksPerGroup) - 1) / uint64(s.blocksPerGroup)
	if s.groups > maxGroups {
		return fmt.Errorf("%w: %d block groups", filesystem.ErrLimit, s.groups)
	}
	if s.groups*uint64(s.inodesPerGroup) != uint64(s.inodes) {
		return filesystem.Corrupt("%d inodes in %d groups of %d", s.inodes, s.groups, s.inodesPerGroup)
	}
	s.firstMetaGroup = le.Uint32(b[0x104:])
	s.backups = [2]uint32{le.Uint32(b[0x24C:]), le.Uint32(b[0x250:])}
	return nil
}

// cString returns b up to a zero byte.
func cString(b []byte) []byte {
	s, _, _ := bytes.Cut(b, []byte{0})
	return s
}

// formatUUID returns a UUID as text, and "" if it is zero.
func formatUUID(b []byte) string {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
