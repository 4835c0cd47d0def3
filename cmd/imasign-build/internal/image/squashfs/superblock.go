package squashfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	superblockSize = 96
	minBlockSize   = 4 << 10
	maxBlockSize   = 1 << 20

	none    = 1<<64 - 1 // the position of a table that the image does not have
	noIndex = 1<<32 - 1 // the index of a fragment or of xattrs that a file does not have

	hasOptions = 1 << 10 // flag: options of the compressor follow the superblock
)

// superblock is struct squashfs_super_block of fs/squashfs/squashfs_fs.h. The positions of
// tables are offsets in the image.
type superblock struct {
	blockSize   int64
	fragments   uint32 // entries in the fragment table
	compression uint16 // see codecOf
	flags       uint16
	ids         uint16 // entries in the table of owners
	root        uint64 // reference of the root inode
	used        int64  // bytes of the image that are in use

	ownerTable, xattrTable, inodeTable, directoryTable, fragmentTable uint64
}

// readSuperblock reads and checks the superblock of an image of size bytes.
func readSuperblock(r io.ReaderAt, size int64) (superblock, error) {
	b := make([]byte, superblockSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		if err == io.EOF {
			return superblock{}, filesystem.Corrupt("a squashfs of %d bytes", size)
		}
		return superblock{}, fmt.Errorf("superblock: %w", err)
	}
	if err := checkVersion(b); err != nil {
		return superblock{}, err
	}
	le := binary.LittleEndian
	s := superblock{
		blockSize: int64(le.Uint32(b[12:])), fragments: le.Uint32(b[16:]), compression: le.Uint16(b[20:]),
		flags: le.Uint16(b[24:]), ids: le.Uint16(b[26:]), root: le.Uint64(b[32:]), used: int64(le.Uint64(b[40:])),
		ownerTable: le.Uint64(b[48:]), xattrTable: le.Uint64(b[56:]), inodeTable: le.Uint64(b[64:]),
		directoryTable: le.Uint64(b[72:]), fragmentTable: le.Uint64(b[80:]),
	}
	return s, s.check(int(le.Uint16(b[22:])), size)
}

// checkVersion refuses what is not version 4.0. Versions before 4 had both byte orders.
func checkVersion(b []byte) error {
	order, other := binary.ByteOrder(binary.LittleEndian), ""
	switch string(b[:4]) {
	case "hsqs":
	case "sqsh":
		order, other = binary.BigEndian, "big-endian "
	default:
		return filesystem.Corrupt("not a squashfs")
	}
	major, minor := order.Uint16(b[28:]), order.Uint16(b[30:])
	if other != "" || major != 4 || minor != 0 {
		return filesystem.Unsupported("%ssquashfs %d.%d (only little-endian 4.0 is)", other, major, minor)
	}
	return nil
}

func (s *superblock) check(log int, size int64) error {
	switch {
	case s.blockSize < minBlockSize || s.blockSize > maxBlockSize || s.blockSize != 1<<min(log, 63):
		return filesystem.Corrupt("blocks of %d (2^%d) bytes", s.blockSize, log)
	case s.used < superblockSize:
		return filesystem.Corrupt("a squashfs of %d bytes", s.used)
	case s.used > size:
		return filesystem.Corrupt("truncated: the superblock states %d bytes, but there are %d", s.used, size)
	case s.ids == 0:
		return filesystem.Corrupt("no owners")
	}
	for _, table := range []uint64{s.ownerTable, s.inodeTable, s.directoryTable} {
		if table < superblockSize || table >= uint64(s.used) {
			return filesystem.Corrupt("a table at offset %d of %d bytes", table, s.used)
		}
	}
	return nil
}

// features returns, by their names in mksquashfs, the compressor and what the flags say.
// Flags that only repeat a default are left out.
func (s *superblock) features(codec string) []string {
	names := [...]string{0: "noI", 1: "noD", 3: "noF", 4: "no-fragments", 5: "always-use-fragments", 7: "exports", 8: "noX", 9: "no-xattrs", 11: "noId"}
	features := []string{codec}
	for flags := s.flags; flags != 0; flags &= flags - 1 {
		if i := bits.TrailingZeros16(flags); i < len(names) && names[i] != "" {
			features = append(features, names[i])
		}
	}
	slices.Sort(features)
	return features
}
