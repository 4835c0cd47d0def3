package erofs

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

// Chunk formats (struct erofs_inode_chunk_info).
const (
	chunkBits    = 0x1f // size of a chunk: a power of two, in blocks
	chunkIndexes = 0x20 // an index has 8 bytes, otherwise it is a block number of 4 bytes
	chunk48Bit   = 0x40
)

// flat reads content in one piece. The last block of the inline layout is behind the inode.
func (c *content) flat(p []byte, at int64) (int, error) {
	tail := c.Size
	if c.layout == flatInline {
		tail = (c.Size - 1) &^ (c.fs.blockSize() - 1)
	}
	if at >= tail {
		size := c.Size - tail
		if c.body&(c.fs.blockSize()-1)+size > c.fs.blockSize() {
			return 0, filesystem.Corrupt("%d inline bytes that cross a block", size)
		}
		return len(p), c.fs.readAt(p, c.body+at-tail)
	}
	p = p[:min(int64(len(p)), tail-at)]
	return len(p), c.fs.readBlocks(p, c.start, at)
}

// readBlocks reads at an offset in bytes after the begin of a block, which may be a hole.
func (f *FileSystem) readBlocks(p []byte, block, offset int64) error {
	switch {
	case block == noBlock:
		clear(p)
		return nil
	case block > f.size>>f.blockBits:
		return filesystem.Corrupt("block %d is outside of the image", block)
	}
	return f.readAt(p, block<<f.blockBits+offset)
}

// chunks reads from chunks that follow each other in the image.
func (c *content) chunks(p []byte, at int64) (int, error) {
	format := int64(uint16(c.union))
	switch {
	case format&chunk48Bit != 0:
		return 0, filesystem.Unsupported("chunks of the 48-bit layout (48bit)")
	case format&^(chunkBits|chunkIndexes) != 0:
		return 0, filesystem.Unsupported("chunks of format %#x", format)
	}
	blocks := int64(1) << (format & chunkBits)
	size := blocks << c.fs.blockBits
	first, err := c.chunk(at/size, format)
	if err != nil {
		return 0, err
	}
	n := size - at%size
	for expect := first; n < int64(len(p)); n += size {
		if first != noBlock {
			expect += blocks
		}
		if next, err := c.chunk((at+n)/size, format); err != nil {
			return 0, err
		} else if next != expect {
			break
		}
	}
	p = p[:min(n, int64(len(p)))]
	return len(p), c.fs.readBlocks(p, first, at%size)
}

// chunk returns the first block of a chunk.
func (c *content) chunk(number, format int64) (int64, error) {
	unit := int64(4)
	if format&chunkIndexes != 0 {
		unit = 8
	}
	b, err := c.index.read(roundUp(c.body, unit)+number*unit, int(unit))
	if err != nil {
		return 0, err
	}
	block := u32(b, int(unit)-4)
	switch {
	case block == 1<<32-1:
		return noBlock, nil
	case unit == 8 && u16(b, 2) != 0:
		return 0, filesystem.Unsupported("content on another device (device_table)")
	}
	return int64(block), nil
}
