package erofs

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	superblockAt   = 1024 // bytes
	superblockSize = 128  // bytes, without extensions
	magic          = 0xE0F5E1E2
)

// Compatible features: a kernel may ignore them.
const (
	compatChecksum      = 1 << 0
	compatFilter        = 1 << 2
	compatSharedMetabox = 1 << 3
	compatPlainPrefixes = 1 << 4
)

// Incompatible features. Some bits have two meanings.
const (
	incompatZeroPadding = 1 << 0
	incompatConfigs     = 1 << 1 // and big pclusters
	incompatDevices     = 1 << 3 // and a second algorithm
	incompatFragments   = 1 << 5 // and dedupe
	incompat48Bit       = 1 << 7
	incompatMetabox     = 1 << 8
	incompatKnown       = 1<<7 - 1
)

// feature has the names that dump.erofs prints for one bit.
type feature struct {
	bit   uint32
	names []string
}

func compatFeatures() []feature {
	return []feature{
		{compatChecksum, []string{"sb_csum"}}, {1 << 1, []string{"mtime"}}, {compatFilter, []string{"xattr_filter"}},
		{compatSharedMetabox, []string{"shared_ea_in_metabox"}}, {compatPlainPrefixes, []string{"plain_xattr_pfx"}},
		{1 << 5, []string{"ishare_xattrs"}},
	}
}

func incompatFeatures() []feature {
	return []feature{
		{incompatZeroPadding, []string{"lz4_0padding"}}, {incompatConfigs, []string{"big_pcluster", "compr_cfgs"}},
		{1 << 2, []string{"chunked_file"}}, {incompatDevices, []string{"compr_head2", "device_table"}},
		{1 << 4, []string{"ztailpacking"}}, {incompatFragments, []string{"dedupe", "fragments"}}, {1 << 6, []string{"xattr_prefixes"}},
	}
}

// superblock is what the reader needs of struct erofs_super_block.
type superblock struct {
	compat, incompat uint32
	blockBits        uint
	root             filesystem.ID
	blocks           int64
	metadata, shared int64 // positions of the inodes and of the shared xattrs, in bytes
	uuid, label      string
	algorithms       uint16 // a bit each
	filtered         bool   // inodes have a filter of xattr names
	packedInode      filesystem.ID

	prefixCount int
	prefixStart int64 // in bytes
}

func (s *superblock) blockSize() int64 { return 1 << s.blockBits }

// names lists the features and the algorithms.
func (s *superblock) names() (names []string) {
	add := func(bits uint32, features []feature) {
		for _, f := range features {
			if bits&f.bit != 0 {
				names = append(names, f.names...)
			}
		}
	}
	add(s.compat, compatFeatures())
	add(s.incompat, incompatFeatures())
	if s.incompat&incompatConfigs != 0 {
		for i, name := range algorithmNames() {
			if s.algorithms>>i&1 != 0 {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (f *FileSystem) readSuperblock() error {
	b := make([]byte, superblockSize)
	if err := f.readAt(b, superblockAt); err != nil {
		return err
	}
	if u32(b, 0) != magic {
		return filesystem.Corrupt("this is no EROFS")
	}
	f.compat, f.incompat, f.blockBits = u32(b, 8), u32(b, 80), uint(b[12])
	if f.blockBits < 9 || f.blockBits > 16 {
		return filesystem.Corrupt("blocks of 2^%d bytes", f.blockBits)
	}
	f.root, f.blocks = filesystem.ID(u16(b, 14)), int64(u32(b, 36))
	f.metadata, f.shared = int64(u32(b, 40))<<f.blockBits, int64(u32(b, 44))<<f.blockBits
	f.uuid = fmt.Sprintf("%x-%x-%x-%x-%x", b[48:52], b[52:54], b[54:56], b[56:58], b[58:64])
	f.label = string(bytes.TrimRight(b[64:80], "\x00"))
	f.prefixCount, f.prefixStart = int(b[91]), int64(u32(b, 92))*4
	f.packedInode = filesystem.ID(u64(b, 96))
	f.filtered = f.compat&compatFilter != 0 && b[104] == 0
	f.algorithms = 1 << algLZ4
	if f.incompat&incompatConfigs != 0 {
		f.algorithms = u16(b, 84)
	}
	if err := f.checkFeatures(b); err != nil {
		return err
	}
	if f.blocks > f.size>>f.blockBits {
		return filesystem.Corrupt("the superblock states %d blocks of %d bytes, the image has %d bytes", f.blocks, f.blockSize(), f.size)
	}
	return f.checkSum(u32(b, 4))
}

// checkFeatures refuses by name what this package does not read.
func (f *FileSystem) checkFeatures(b []byte) error {
	devices, directoryBits := u16(b, 86), b[90]
	switch {
	case f.incompat&incompatMetabox != 0:
		return filesystem.Unsupported("compressed metadata (metabox)")
	case f.incompat&incompat48Bit != 0:
		return filesystem.Unsupported("the 48-bit layout (48bit)")
	case f.incompat&^incompatKnown != 0:
		return filesystem.Unsupported("incompatible features %#x, which are newer than this program", f.incompat&^incompatKnown)
	case f.incompat&incompatDevices != 0 && devices != 0:
		return filesystem.Unsupported("content on %d other devices (device_table)", devices)
	case f.compat&compatSharedMetabox != 0:
		return filesystem.Unsupported("shared xattrs in compressed metadata (shared_ea_in_metabox)")
	case directoryBits != 0:
		return filesystem.Unsupported("directory blocks that are larger than blocks (dirblkbits)")
	case int(f.algorithms)>>len(algorithmNames()) != 0:
		return filesystem.Unsupported("compression algorithms %#x, which are newer than this program", f.algorithms)
	}
	return nil
}

// checkSum compares the CRC-32C of the superblock and the rest of its block, without the
// final complement.
func (f *FileSystem) checkSum(want uint32) error {
	if f.compat&compatChecksum == 0 {
		return nil
	}
	n := f.blockSize()
	if n > superblockAt {
		n -= superblockAt
	}
	b := make([]byte, n)
	if err := f.readAt(b, superblockAt); err != nil {
		return err
	}
	clear(b[4:8])
	if sum := ^crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); sum != want {
		return filesystem.Corrupt("the superblock has checksum %#08x and states %#08x", sum, want)
	}
	return nil
}
