package squashfs

import (
	"encoding/binary"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	metadataSize = 8 << 10 // bytes of a decoded metadata block

	storedPlain = 1 << 15 // in the header of a metadata block: it is not compressed
)

// metadataBlock is a decoded metadata block.
type metadataBlock struct {
	data     []byte // shared: not to be changed
	at, next int64  // where it, and the next one, begin
}

// metadataAt returns the metadata block at an offset of the image.
func (f *FileSystem) metadataAt(at int64) (metadataBlock, error) {
	b, err := f.metadata.get(at, func() (metadataBlock, error) { return f.readMetadata(at) }, nil)
	if err != nil {
		return b, fmt.Errorf("metadata at offset %d: %w", at, err)
	}
	return b, nil
}

// readMetadata reads a block: two bytes with its size, and its data.
func (f *FileSystem) readMetadata(at int64) (metadataBlock, error) {
	if at < superblockSize || at > f.used-2 {
		return metadataBlock{}, filesystem.Corrupt("it is not in the image")
	}
	stored := make([]byte, min(2+metadataSize, f.used-at))
	if err := f.read(stored, at); err != nil {
		return metadataBlock{}, err
	}
	header := binary.LittleEndian.Uint16(stored)
	n := int(header &^ storedPlain)
	if stored = stored[2:]; n == 0 || n > metadataSize || n > len(stored) {
		return metadataBlock{}, filesystem.Corrupt("a block of %d bytes", n)
	}
	stored = stored[:n]
	next := at + 2 + int64(n)
	if header&storedPlain != 0 {
		return metadataBlock{stored, at, next}, nil
	}
	data := make([]byte, metadataSize)
	n, err := f.decode(data, stored)
	return metadataBlock{data[:n], at, next}, err
}

// cursor is a position in a table. It reads on from one metadata block to the next, which
// always is at a higher offset of the image. A copy is a bookmark.
type cursor struct {
	f     *FileSystem
	block metadataBlock
	rest  []byte // of the block
}

// cursorAt returns the cursor at a reference: a position relative to table, shifted left by
// 16 bits, and an offset in the decoded block.
func (f *FileSystem) cursorAt(table, reference uint64) (cursor, error) {
	block, err := f.metadataAt(int64(table + reference>>16))
	if err != nil {
		return cursor{}, err
	}
	offset := int(reference & 0xffff)
	if offset > len(block.data) {
		return cursor{}, filesystem.Corrupt("offset %d of %d bytes of metadata", offset, len(block.data))
	}
	return cursor{f, block, block.data[offset:]}, nil
}

// next returns the next n bytes, at most 64 KiB, which are valid until the following call
// and not to be changed.
func (c *cursor) next(n int) ([]byte, error) {
	if n <= len(c.rest) {
		b := c.rest[:n]
		c.rest = c.rest[n:]
		return b, nil
	}
	b := make([]byte, 0, n)
	for {
		k := min(n-len(b), len(c.rest))
		b = append(b, c.rest[:k]...)
		if c.rest = c.rest[k:]; len(b) == n {
			return b, nil
		}
		var err error
		if c.block, err = c.f.metadataAt(c.block.next); err != nil {
			return nil, err
		}
		c.rest = c.block.data
	}
}

// position returns where the metadata block with the next byte begins.
func (c *cursor) position() int64 {
	if len(c.rest) == 0 {
		return c.block.next
	}
	return c.block.at
}

// uint32 returns the next number.
func (c *cursor) uint32() (uint32, error) {
	b, err := c.next(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}
