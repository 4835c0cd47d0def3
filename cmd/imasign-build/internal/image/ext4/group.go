package ext4

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

// readGroups reads the group descriptors, for the places of the inode tables.
func (f *FileSystem) readGroups() error {
	perBlock := uint64(f.blockSize / f.descriptorSize)
	f.tables = make([]uint64, 0, min(f.groups, 1024))
	b := make([]byte, f.blockSize)
	for n := uint64(0); n*perBlock < f.groups; n++ {
		if err := f.readBlock(f.descriptorBlock(n), b); err != nil {
			return err
		}
		for i := uint64(0); i < perBlock && n*perBlock+i < f.groups; i++ {
			if err := f.addGroup(b[i*uint64(f.descriptorSize):][:f.descriptorSize]); err != nil {
				return err
			}
		}
	}
	return nil
}

// addGroup adds the next group, which d describes.
func (f *FileSystem) addGroup(d []byte) error {
	group := uint64(len(f.tables))
	if err := f.checkDescriptor(group, d); err != nil {
		return err
	}
	table := uint64(le.Uint32(d[0x08:]))
	if len(d) >= 64 {
		table |= uint64(le.Uint32(d[0x28:])) << 32
	}
	perBlock := f.blockSize / f.inodeSize
	if n := (int64(f.inodesPerGroup) + perBlock - 1) / perBlock; !f.valid(table, uint64(n)) {
		return filesystem.Corrupt("the inode table of group %d is at block %d of %d", group, table, f.blocks)
	}
	f.tables = append(f.tables, table)
	return nil
}

// descriptorBlock returns the place of the n-th block of group descriptors, as
// descriptor_loc in fs/ext4/super.c does: behind the superblock, or with meta_bg at the
// beginning of the groups that it describes.
func (f *FileSystem) descriptorBlock(n uint64) uint64 {
	if f.features.incompat&metaGroups == 0 || n < uint64(f.firstMetaGroup) {
		return superblockOffset/uint64(f.blockSize) + 1 + n
	}
	group := n * uint64(f.blockSize/f.descriptorSize)
	block := group*uint64(f.blocksPerGroup) + uint64(f.firstBlock)
	if f.hasSuperblock(group) {
		block++
	}
	if f.blockSize == 1024 && n == 0 && f.firstBlock == 0 {
		block++ // group 0 begins with the boot block
	}
	return block
}

// hasSuperblock reports whether a group begins with a copy of the superblock.
func (s *superblock) hasSuperblock(group uint64) bool {
	switch {
	case group == 0:
		return true
	case s.features.compat&sparseSuper2 != 0:
		return group == uint64(s.backups[0]) || group == uint64(s.backups[1])
	case group == 1, s.features.roCompat&sparseSuper == 0:
		return true
	}
	return isPower(group, 3) || isPower(group, 5) || isPower(group, 7)
}

func isPower(n, base uint64) bool {
	for n > 1 && n%base == 0 {
		n /= base
	}
	return n == 1
}
