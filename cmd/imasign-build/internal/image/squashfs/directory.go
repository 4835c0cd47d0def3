package squashfs

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	// sizeOfNothing is the size of an empty directory: the kernel counts "." and "..".
	sizeOfNothing = 3

	maxRun  = 256 // entries after one header
	maxName = 256 // bytes
)

// ReadDir passes take the names in a directory: runs of entries, each after a header with
// the metadata block of their inodes.
func (f *FileSystem) ReadDir(id filesystem.ID, take func(filesystem.Dirent) error) error {
	in, err := f.inode(id)
	if err != nil {
		return err
	}
	if in.kind != typeDirectory {
		return filesystem.Corrupt("not a directory")
	}
	left := in.size - sizeOfNothing
	if left <= 0 {
		return nil
	}
	c, err := f.cursorAt(f.directoryTable, in.start<<16|uint64(in.offset))
	if err != nil {
		return err
	}
	for left > 0 {
		n, err := c.run(take)
		if err != nil {
			return err
		}
		left -= n
	}
	if left < 0 {
		return filesystem.Corrupt("a directory that ends in an entry")
	}
	return nil
}

// run reads a header and its entries, and returns how many bytes they are.
func (c *cursor) run(take func(filesystem.Dirent) error) (int64, error) {
	b, err := c.next(12)
	if err != nil {
		return 0, err
	}
	count, block := u32(b), uint64(u32(b[4:]))
	if count >= maxRun {
		return 0, filesystem.Corrupt("a run of %d directory entries", uint64(count)+1)
	}
	size := int64(len(b))
	for range count + 1 {
		if b, err = c.next(8); err != nil {
			return 0, err
		}
		inode, length := block<<16|uint64(u16(b)), int(u16(b[6:]))+1
		if length > maxName {
			return 0, filesystem.Corrupt("a name of %d bytes", length)
		}
		if b, err = c.next(length); err != nil {
			return 0, err
		}
		if err := take(filesystem.Dirent{Name: string(b), ID: filesystem.ID(inode)}); err != nil {
			return 0, err
		}
		size += 8 + int64(length)
	}
	return size, nil
}
