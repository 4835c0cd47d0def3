package ext4

import (
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	direntHeader = 8
	// inlineParent is the length of the parent's number, which an inline directory has
	// instead of "." and "..".
	inlineParent = 4
	tailLength   = 12 // of the entry without a name that has the checksum of a block
	tailType     = 0xDE
)

// ReadDir passes take the names in a directory. It reads indexed directories as those
// without an index: blocks of the index look as if they had no names. It refuses names that
// the index does not lead to, because the kernel does not find them.
func (f *FileSystem) ReadDir(id filesystem.ID, take func(filesystem.Dirent) error) error {
	in, err := f.file(id)
	if err != nil {
		return err
	}
	if in.mode&typeMask != typeDir {
		return filesystem.Corrupt("inode %d is not a directory", id)
	}
	if in.inline == nil {
		return f.readBlocks(in, take)
	}
	// The kernel searches both parts for itself.
	if _, err := dirents(in.blockMap()[inlineParent:], take); err != nil {
		return err
	}
	_, err = dirents(in.inline.value, take)
	return err
}

// readBlocks reads the blocks of a directory, of which some may be holes.
func (f *FileSystem) readBlocks(in *inode, take func(filesystem.Dirent) error) error {
	if in.size%f.blockSize != 0 {
		return filesystem.Corrupt("a directory of %d bytes", in.size)
	}
	c, err := f.blockContent(in)
	if err != nil {
		return err
	}
	index, err := f.readIndex(in, c)
	if err != nil {
		return err
	}
	b := make([]byte, f.blockSize)
	for n := uint64(0); n < uint64(in.size/f.blockSize); {
		r, err := c.run(n)
		if err != nil {
			return err
		}
		if r.physical == 0 {
			n = r.logical + r.blocks
			continue
		}
		if err := f.readDirBlock(in, r.physical+n-r.logical, b, index.leaf(n), take); err != nil {
			return err
		}
		n++
	}
	return nil
}

// readDirBlock reads one block of a directory into b. With checksums, a block without one
// may have no names. l is what the index has for the block, nil without an index.
func (f *FileSystem) readDirBlock(in *inode, block uint64, b []byte, l *leaf, take func(filesystem.Dirent) error) error {
	if err := f.readDirectory(block, b); err != nil {
		return err
	}
	if l != nil {
		all := take
		take = func(d filesystem.Dirent) error {
			if err := l.check(d.Name); err != nil {
				return err
			}
			return all(d)
		}
	}
	if l.node() { // it has another checksum
		_, err := dirents(b, take)
		return err
	}
	tail := b[len(b)-tailLength:]
	summed := le.Uint32(tail) == 0 && le.Uint16(tail[4:]) == tailLength && tail[6] == 0 && tail[7] == tailType
	if f.checksums && summed && checksum(in.seed, b[:len(b)-tailLength]) != le.Uint32(tail[8:]) {
		return filesystem.Corrupt("the checksum of directory block %d does not match", block)
	}
	names, err := dirents(b, take)
	if err == nil && f.checksums && !summed && names > 0 {
		return filesystem.Corrupt("directory block %d has no checksum", block)
	}
	return err
}

// readDirectory reads a block of a directory. A hostile image may have many directories in
// the same blocks.
func (f *FileSystem) readDirectory(block uint64, b []byte) error {
	if f.dirBytes.Add(f.blockSize) > 4*int64(f.blocks)*f.blockSize+64<<20 {
		return fmt.Errorf("%w: directories larger than the image", filesystem.ErrLimit)
	}
	return f.readBlock(block, b)
}

// dirents passes take the entries in b, which fill it. It returns how many have names.
func dirents(b []byte, take func(filesystem.Dirent) error) (names int, err error) {
	for rest := b; len(rest) > 0; {
		if len(rest) < direntHeader {
			return names, filesystem.Corrupt("a directory entry of %d bytes", len(rest))
		}
		inode, length, n := le.Uint32(rest), int(le.Uint16(rest[4:])), int(rest[6])
		if len(b) == 64<<10 && (length == 0 || length == 1<<16-1) {
			length = len(b) // does not fit in 16 bits
		}
		if length%4 != 0 || length < roundUp(direntHeader+max(n, 1)) || length > len(rest) {
			return names, filesystem.Corrupt("a directory entry of %d bytes with a name of %d", length, n)
		}
		name := string(rest[direntHeader : direntHeader+n])
		rest = rest[length:]
		if inode == 0 || name == "." || name == ".." {
			continue
		}
		names++
		if err := take(filesystem.Dirent{Name: name, ID: filesystem.ID(inode)}); err != nil {
			return names, err
		}
	}
	return names, nil
}
