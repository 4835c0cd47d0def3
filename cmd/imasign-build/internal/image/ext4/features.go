package ext4

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// features are the three sets of feature bits in a superblock. A kernel that does not know
// a bit of incompat cannot mount, of roCompat cannot write.
type features struct{ compat, incompat, roCompat uint32 }

// Bits of compat that matter to the reader.
const (
	hasJournal   = 0x4
	dirIndex     = 0x20
	sparseSuper2 = 0x200
)

// Bits of roCompat that matter to the reader.
const (
	sparseSuper      = 0x1
	largeFile        = 0x2
	btreeDir         = 0x4
	hugeFile         = 0x8
	bigalloc         = 0x200
	metadataChecksum = 0x400
)

// Bits of incompat.
const (
	compression   = 0x1
	filetype      = 0x2
	needsRecovery = 0x4
	journalDevice = 0x8
	metaGroups    = 0x10
	extentTrees   = 0x40
	bits64        = 0x80
	mmp           = 0x100
	flexGroups    = 0x200
	eaInodes      = 0x400
	seedStored    = 0x2000
	largeDir      = 0x4000
	inlineData    = 0x8000
)

// readable are the incompatible features that this package reads.
const readable = filetype | metaGroups | extentTrees | bits64 | mmp | flexGroups | eaInodes | seedStored | largeDir | inlineData

// Names of features by bit, as in lib/e2p/feature.c of e2fsprogs.
var (
	compatNames = [32]string{
		0: "dir_prealloc", 1: "imagic_inodes", 2: "has_journal", 3: "ext_attr", 4: "resize_inode", 5: "dir_index", 6: "lazy_bg",
		8: "snapshot_bitmap", 9: "sparse_super2", 10: "fast_commit", 11: "stable_inodes", 12: "orphan_file",
	}
	roCompatNames = [32]string{
		0: "sparse_super", 1: "large_file", 3: "huge_file", 4: "uninit_bg", 5: "dir_nlink", 6: "extra_isize", 7: "snapshot", 8: "quota",
		9: "bigalloc", 10: "metadata_csum", 11: "replica", 12: "read-only", 13: "project", 14: "shared_blocks", 15: "verity", 16: "orphan_present",
	}
	incompatNames = [32]string{
		0: "compression", 1: "filetype", 2: "needs_recovery", 3: "journal_dev", 4: "meta_bg", 6: "extent", 7: "64bit", 8: "mmp",
		9: "flex_bg", 10: "ea_inode", 12: "dirdata", 13: "metadata_csum_seed", 14: "large_dir", 15: "inline_data", 16: "encrypt", 17: "casefold",
	}
)

// check refuses file systems with content that the reader cannot show.
func (f features) check() error {
	if f.incompat&journalDevice != 0 {
		return filesystem.Unsupported("journal_dev: this is the journal of another file system")
	}
	if f.incompat&needsRecovery != 0 {
		return filesystem.Unsupported("needs_recovery: the journal has not been replayed; run e2fsck -fy on a copy of the image")
	}
	if list := named(f.incompat&^readable, 'I', &incompatNames); len(list) > 0 {
		return filesystem.Unsupported("%s", strings.Join(list, ", "))
	}
	return nil
}

// names returns the names of all features, sorted.
func (f features) names() []string {
	list := named(f.compat, 'C', &compatNames)
	list = append(list, named(f.incompat, 'I', &incompatNames)...)
	list = append(list, named(f.roCompat, 'R', &roCompatNames)...)
	slices.Sort(list)
	return list
}

// named returns names of the bits in set. Those without a name are called as e2fsprogs
// does, such as FEATURE_I20.
func named(set uint32, kind rune, names *[32]string) (list []string) {
	for bit, name := range names {
		if set&(1<<bit) == 0 {
			continue
		}
		if name == "" {
			name = fmt.Sprintf("FEATURE_%c%d", kind, bit)
		}
		list = append(list, name)
	}
	return list
}

// kind returns the type, by the rule of libblkid: that of the oldest driver that knows all
// features.
func (f features) kind() string {
	const old = filetype | metaGroups
	switch {
	case f.incompat&^old != 0 || f.roCompat&^(sparseSuper|largeFile|btreeDir) != 0:
		return "ext4"
	case f.compat&hasJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// kind returns the type of the file system.
func (s *superblock) kind() string { return s.features.kind() }
