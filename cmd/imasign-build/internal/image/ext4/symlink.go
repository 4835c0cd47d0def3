package ext4

import (
	"bytes"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const maxTarget = 4095

// Readlink returns the target of a symbolic link, from the inode or from its first block.
func (f *FileSystem) Readlink(id filesystem.ID) (string, error) {
	in, err := f.file(id)
	if err != nil {
		return "", err
	}
	if in.mode&typeMask != typeSymlink {
		return "", filesystem.Corrupt("inode %d is not a symbolic link", id)
	}
	if in.size > maxTarget || in.size >= f.blockSize {
		return "", filesystem.Corrupt("the target of a link has %d bytes", in.size)
	}
	target := make([]byte, in.size)
	if err := in.readTarget(target); err != nil {
		return "", err
	}
	if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
		return "", filesystem.Corrupt("the target of a link contains a zero byte")
	}
	return string(target), nil
}

func (in *inode) readTarget(target []byte) error {
	if in.inInode() {
		if len(target) > len(in.blockMap())-1 {
			return filesystem.Corrupt("the target of a link has %d bytes, without blocks", len(target))
		}
		copy(target, in.blockMap())
		return nil
	}
	c, err := in.fs.open(in)
	if err != nil {
		return err
	}
	_, err = c.ReadAt(target, 0)
	return err
}

// inInode reports whether a link has its target in place of the block pointers
// (ext4_inode_is_fast_symlink in fs/ext4/inode.c).
func (in *inode) inInode() bool {
	if in.fs.features.incompat&eaInodes != 0 {
		return in.size < int64(len(in.blockMap()))
	}
	used := in.sectors()
	if in.xattrs != 0 {
		used -= uint64(in.fs.clusterSize / 512)
	}
	return in.inline == nil && used == 0
}
