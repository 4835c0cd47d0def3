package ext4

import (
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// Places in an image.
const (
	incompatAt = superblockOffset + 0x60
	superEnd   = superblockOffset + superblockSize
)

// rawInode returns the bytes of an inode in an image.
func rawInode(f *FileSystem, image []byte, number uint32) []byte {
	at := int64(f.tables[(number-1)/f.inodesPerGroup])*f.blockSize + int64((number-1)%f.inodesPerGroup)*f.inodeSize
	return image[at : at+f.inodeSize]
}

// blockOf returns the bytes of a block in an image.
func blockOf(f *FileSystem, image []byte, number uint64) []byte {
	return image[int64(number)*f.blockSize:][:f.blockSize]
}

// setFlag sets a flag of an inode.
func setFlag(path string, flag uint32) func(t *testing.T, f *FileSystem, b []byte) {
	return func(t *testing.T, f *FileSystem, b []byte) {
		raw := rawInode(f, b, find(t, f, path))
		le.PutUint32(raw[0x20:], le.Uint32(raw[0x20:])|flag)
	}
}

// setFeature sets a bit of the incompatible features.
func setFeature(bit uint32) func(t *testing.T, f *FileSystem, b []byte) {
	return func(_ *testing.T, _ *FileSystem, b []byte) {
		le.PutUint32(b[incompatAt:], le.Uint32(b[incompatAt:])|bit)
	}
}

// setSuper sets 32 bits in the superblock.
func setSuper(at int, value uint32) func(t *testing.T, f *FileSystem, b []byte) {
	return func(_ *testing.T, _ *FileSystem, b []byte) { le.PutUint32(b[superblockOffset+at:], value) }
}

// inBlock changes a block of the file with a path.
func inBlock(path string, logical uint64, change func(b []byte)) func(t *testing.T, f *FileSystem, b []byte) {
	return func(t *testing.T, f *FileSystem, b []byte) {
		in, err := f.decode(find(t, f, path))
		check(t, err)
		c, err := f.blockContent(in)
		check(t, err)
		r, err := c.run(logical)
		check(t, err)
		change(blockOf(f, b, r.physical+logical-r.logical))
	}
}

// inInode changes the inode of the file with a path.
func inInode(path string, change func(raw []byte)) func(t *testing.T, f *FileSystem, b []byte) {
	return func(t *testing.T, f *FileSystem, b []byte) { change(rawInode(f, b, find(t, f, path))) }
}

// inXattrs changes the xattr block of the file with a path.
func inXattrs(path string, change func(b []byte)) func(t *testing.T, f *FileSystem, b []byte) {
	return func(t *testing.T, f *FileSystem, b []byte) {
		in, err := f.decode(find(t, f, path))
		check(t, err)
		change(blockOf(f, b, in.xattrs))
	}
}

// inExtents changes the extent block of the file with a path.
func inExtents(path string, change func(b []byte)) func(t *testing.T, f *FileSystem, b []byte) {
	return func(t *testing.T, f *FileSystem, b []byte) {
		raw := rawInode(f, b, find(t, f, path))
		change(blockOf(f, b, uint64(le.Uint32(raw[0x28+extentHeader+4:]))))
	}
}

// inACL changes the value of the ACL in an xattr block.
func inACL(change func(value []byte)) func(b []byte) {
	return func(b []byte) {
		at := xattrHeader
		for b[at+1] != indexACL {
			at += roundUp(xattrEntry + int(b[at]))
		}
		change(b[le.Uint16(b[at+2:]):])
	}
}

// inValue changes the block of an xattr's value in an inode, that of user.larger of a.
func inValue(t *testing.T, f *FileSystem, b []byte) {
	in, err := f.decode(find(t, f, "a"))
	check(t, err)
	body, err := in.bodyAttributes()
	check(t, err)
	for _, a := range body {
		if a.inode != 0 {
			raw := rawInode(f, b, a.inode)
			flip(blockOf(f, b, uint64(le.Uint32(raw[0x28+extentHeader+8:]))))
			return
		}
	}
	t.Fatal("no value is in an inode")
}

// flip changes a byte.
func flip(b []byte) { b[1] ^= 1 }

func put32(at int, value uint32) func(b []byte) {
	return func(b []byte) { le.PutUint32(b[at:], value) }
}

func put16(at int, value uint16) func(b []byte) {
	return func(b []byte) { le.PutUint16(b[at:], value) }
}

// TestRefused changes images, each in one way, and reads everything in them.
func TestRefused(t *testing.T) {
	corrupt, unsupported := filesystem.ErrCorrupt, filesystem.ErrUnsupported
	for _, c := range []struct {
		name, image string
		change      func(t *testing.T, f *FileSystem, b []byte)
		kind        error
		text        string
	}{
		{"magic", "ext4", func(_ *testing.T, _ *FileSystem, b []byte) { b[superblockOffset+0x38] = 0 }, corrupt, "no superblock"},
		{"journal of another", "ext4", setFeature(journalDevice), unsupported, "journal_dev"},
		{"journal not replayed", "ext4", setFeature(needsRecovery), unsupported, "needs_recovery: the journal has not been replayed; run e2fsck -fy on a copy"},
		{"encrypt", "ext4", setFeature(1 << 16), unsupported, ": encrypt"},
		{"casefold", "ext4", setFeature(1 << 17), unsupported, ": casefold"},
		{"compression and unknown", "ext4", setFeature(1 | 1<<20), unsupported, "compression, FEATURE_I20"},
		{"dirdata", "ext4", setFeature(1 << 12), unsupported, "dirdata"},
		{"encrypted file", "ext4", setFlag("hello", flagEncrypted), unsupported, "inode 19: not supported: encrypt"},
		{"casefolded directory", "ext4", setFlag("many", flagCasefold), unsupported, "casefold"},
		{"compressed file", "ext4", setFlag("hello", flagCompressed), unsupported, "compression"},
		{"value as file", "ext4", setFlag("hello", flagEAInode), corrupt, "the value of an xattr"},
		{"inline without data", "ext4", setFlag("fifo", flagInline), corrupt, "no inline data"},
		{"block size", "ext4", setSuper(0x18, 7), corrupt, "blocks of 2^17 bytes"},
		{"cut off", "ext4", setSuper(0x04, 257), corrupt, "cut off"},
		{"inode size", "ext4", setSuper(0x58, 384), corrupt, "inodes of 384 bytes"},
		{"number of inodes", "ext4", setSuper(0x00, 111), corrupt, "111 inodes in 1 groups"},
		{"inodes of a group", "ext4", setSuper(0x28, 0), corrupt, "0 inodes in a group"},
		{"blocks of a group", "ext4", setSuper(0x20, 0), corrupt, "0 blocks in a group"},
		{"too many groups", "ext4", setSuper(0x150, 1), filesystem.ErrLimit, "block groups"},
		{"inode table", "ext2", func(_ *testing.T, _ *FileSystem, b []byte) { le.PutUint32(b[superEnd+8:], 250) }, corrupt, "inode table of group 0"},
		{"not in use", "ext4", inInode("hello", put16(0x1A, 0)), corrupt, "not in use"},
		{"mode", "ext4", inInode("hello", put16(0, 0o170644)), corrupt, "mode 170644"},
		{"large file", "ext4", inInode("extents", put32(0x6C, 1<<30)), corrupt, "a size of"},
		{"large file in indirect blocks", "ext2", inInode("extents", put32(0x6C, 5)), corrupt, "a size of 21474"},
		{"link", "ext2", inInode("link", put32(0x04, 60)), corrupt, "60 bytes, without blocks"},
		{"zero in a link", "ext2", inInode("link", put32(0x04, 6)), corrupt, "zero byte"},
		{"long link", "ext2", inInode("long-link", put32(0x04, 1024)), corrupt, "1024 bytes"},
		{"extent magic", "ext4", inInode("extents", flipAt(0x28)), corrupt, "header of extents"},
		{"extent depth", "ext4", inInode("extents", put16(0x2E, 6)), corrupt, "depth 6"},
		{"extent behind the end", "ext4", inExtents("extents", put32(extentHeader+8, 256)), corrupt, "an extent of 1 blocks at block 256 of 256"},
		{"empty extent", "ext4", inExtents("extents", put16(extentHeader+4, 0)), corrupt, "an extent of 0 blocks"},
		{"overlapping extents", "ext4", inExtents("extents", put16(extentHeader+4, 3)), corrupt, "overlap at block 2"},
		{"extents at another place", "ext4", inExtents("extents", put32(extentHeader, 1)), corrupt, "begins at 1, not 0"},
		{"indirect block", "ext2", inInode("indirect", put32(0x28+4*13, 256)), corrupt, "block 256 of 256"},
		{"direct block", "ext2", inInode("extents", put32(0x28, 256)), corrupt, "block 256 of 256"},
		{"direct block behind the end", "ext2", inInode("a", put32(0x28+4*11, 256)), corrupt, "a pointer to block 256 of 256"},
		{"xattr block", "ext4", inInode("many", put32(0x68, 256)), corrupt, "xattrs in block 256 of 256"},
		{"xattr magic", "ext4", inXattrs("many", flip), corrupt, "has no xattrs"},
		{"xattr order", "ext4", inXattrs("many", func(b []byte) { b[xattrHeader+1] = 6 }), corrupt, "not in order"},
		{"xattr outside", "ext4", inXattrs("many", put16(xattrHeader+2, 1022)), corrupt, "at 1022 of 1024"},
		{"xattr in the names", "ext4", inXattrs("many", put16(xattrHeader+2, 32)), corrupt, "at 32 of 1024"},
		{"large xattr", "ext4", inXattrs("many", put32(xattrHeader+8, 1<<17)), corrupt, "an xattr of 131072 bytes"},
		{"xattr in no inode", "ext2", inXattrs("many", put32(xattrHeader+4, 12)), corrupt, "in an inode"},
		{"value in the root", "ext4", inXattrs("many", put32(xattrHeader+4, 2)), corrupt, "no inode for a value"},
		{"value in a file", "ext4", inXattrs("many", put32(xattrHeader+4, 12)), corrupt, "inode 12"},
		{"value of an xattr", "ext4", inValue, corrupt, "hash"},
		{"ACL version", "ext2", inXattrs("many", inACL(put32(0, 2))), corrupt, "does not have version 1"},
		{"ACL tag", "ext2", inXattrs("many", inACL(put16(4, 3))), corrupt, "tag 0x3"},
		{"ACL entry", "ext2", inXattrs("many", inACL(put16(32, 2))), corrupt, "an ACL entry of 4 bytes"},
		{"directory entry", "ext2", inBlock("many", 1, put16(4, 4)), corrupt, "a directory entry of 4 bytes"},
		{"long directory entry", "ext2", inBlock("many", 1, put16(4, 1028)), corrupt, "a directory entry of 1028 bytes"},
		{"name of an entry", "ext2", inBlock("many", 1, func(b []byte) { b[6] = 255 }), corrupt, "with a name of 255"},
		{"inode of an entry", "ext2", inBlock("many", 1, put32(0, 113)), corrupt, "inode 113 of 112"},
		{"reserved inode", "ext2", inBlock("many", 1, put32(0, 8)), corrupt, "inode 8 of 112"},
		{"part of a block", "ext2", inInode("many", put32(4, 5000)), corrupt, "a directory of 5000 bytes"},
		{"checksum of the superblock", "checksums", setSuper(0x78, 1), corrupt, "checksum of the superblock"},
		{"checksum of a group", "checksums", func(_ *testing.T, _ *FileSystem, b []byte) { flip(b[superEnd+0x0C:]) }, corrupt, "checksum of the descriptor of group 0"},
		{"checksum of an inode", "checksums", inInode("hello", flip), corrupt, "inode 19: corrupt: the checksum"},
		{"checksum of extents", "checksums", inExtents("extents", flipAt(extentHeader+8)), corrupt, "checksum of an extent block"},
		{"checksum of a directory", "checksums", inBlock("many", 1, flipAt(8)), corrupt, "checksum of directory block"},
		{"no checksum of a directory", "checksums", inBlock("many", 1, flipAt(1024-tailLength+7)), corrupt, "has no checksum"},
		{"checksum of xattrs", "checksums", inXattrs("hello", flipAt(1000)), corrupt, "checksum of xattr block"},
		{"value with checksums", "checksums", inValue, corrupt, "hash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := image(t, c.image)
			check(t, readAll(t, opened(t, b)))
			c.change(t, opened(t, b), b)
			f, err := open(b)
			if err == nil {
				err = readAll(t, f)
			}
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("want %q, got %v", c.text, err)
			}
		})
	}
}

// flipAt changes a byte at an offset.
func flipAt(at int) func(b []byte) {
	return func(b []byte) { b[at] ^= 1 }
}
