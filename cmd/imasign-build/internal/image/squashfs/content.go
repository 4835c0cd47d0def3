package squashfs

import (
	"fmt"
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const dataPlain = 1 << 24 // in the size of a data block: it is not compressed

// stored is where a data block is in the image.
type stored struct {
	at    int64
	size  int64 // in bytes, as stored; zero for a hole
	plain bool  // not compressed
}

// dataBlock returns the place of a data block at an offset of the image, from its size in
// a list of blocks.
func (f *FileSystem) dataBlock(size uint32, at int64) (stored, error) {
	s := stored{at, int64(size &^ dataPlain), size&dataPlain != 0}
	if s.size > f.blockSize {
		return stored{}, filesystem.Corrupt("a data block of %d bytes", s.size)
	}
	return s, nil
}

// readData reads a data block, decodes it to dst and returns how many bytes it is.
func (f *FileSystem) readData(dst []byte, s stored) (n int, err error) {
	switch {
	case s.size == 0:
		return 0, filesystem.Corrupt("an empty data block")
	case s.plain && s.size > int64(len(dst)):
		return 0, filesystem.Corrupt("a data block of %d bytes, not %d", s.size, len(dst))
	case s.plain:
		return int(s.size), f.read(dst[:s.size], s.at)
	}
	buffer := f.blocks.Get().(*[]byte)
	defer f.blocks.Put(buffer)
	in := (*buffer)[:s.size]
	if err = f.read(in, s.at); err == nil {
		n, err = f.decode(dst, in)
	}
	if err != nil {
		return 0, fmt.Errorf("data block at offset %d: %w", s.at, err)
	}
	return n, nil
}

// Open opens the content of a regular file.
func (f *FileSystem) Open(id filesystem.ID) (filesystem.Content, error) {
	in, err := f.inode(id)
	if err != nil {
		return nil, err
	}
	if in.kind != typeFile {
		return nil, filesystem.Corrupt("not a regular file")
	}
	return &content{f: f, in: in, blocks: f.blockCount(&in), list: newBlockList(f, &in)}, nil
}

// content is an open file.
type content struct {
	f      *FileSystem
	in     inode
	blocks int64 // data blocks besides the tail
	list   blockList
	// buffer holds the decoded block of index buffered, if it was read in parts.
	buffer   *[]byte
	buffered int64
	tail     []byte // of the shared fragment
}

// Close gives back the buffer.
func (c *content) Close() error {
	if c.buffer != nil {
		c.f.blocks.Put(c.buffer)
		c.buffer = nil
	}
	return nil
}

// ReadAt reads content at an offset of the file.
func (c *content) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("read at offset %d", at)
	}
	n := 0
	for n < len(p) && at < c.in.size {
		k, err := c.part(p[n:], at)
		if err != nil {
			return n, err
		}
		n, at = n+k, at+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// part reads at most to the end of one block. at is within the file.
func (c *content) part(p []byte, at int64) (int, error) {
	index, skip := at/c.f.blockSize, at%c.f.blockSize
	if index >= c.blocks {
		tail, err := c.readTail()
		if err != nil {
			return 0, err
		}
		return copy(p, tail[skip:]), nil
	}
	length := min(c.f.blockSize, c.in.size-index*c.f.blockSize)
	p = p[:min(int64(len(p)), length-skip)]
	if c.buffer != nil && c.buffered == index {
		return copy(p, (*c.buffer)[skip:]), nil
	}
	s, err := c.list.find(index)
	switch {
	case err != nil:
		return 0, err
	case s.size == 0:
		clear(p)
		return len(p), nil
	case s.plain && s.size != length:
		return 0, filesystem.Corrupt("a data block of %d bytes, not %d", s.size, length)
	case s.plain:
		return len(p), c.f.read(p, s.at+skip)
	case int64(len(p)) == length:
		return len(p), c.exactly(p, s)
	}
	return c.through(p, s, index, skip, length)
}

// exactly decodes a block to all of p.
func (c *content) exactly(p []byte, s stored) error {
	n, err := c.f.readData(p, s)
	if err == nil && n != len(p) {
		err = filesystem.Corrupt("the data block at offset %d has %d bytes, not %d", s.at, n, len(p))
	}
	return err
}

// through decodes a block to the buffer, and copies the part after skip bytes to p.
func (c *content) through(p []byte, s stored, index, skip, length int64) (int, error) {
	if c.buffer == nil {
		c.buffer = c.f.blocks.Get().(*[]byte)
	}
	c.buffered = -1
	block := (*c.buffer)[:length]
	if err := c.exactly(block, s); err != nil {
		return 0, err
	}
	c.buffered = index
	return copy(p, block[skip:]), nil
}

// readTail returns the end of the file, which is in a fragment.
func (c *content) readTail() ([]byte, error) {
	if c.tail != nil {
		return c.tail, nil
	}
	fragment, err := c.f.readFragment(c.in.fragment)
	if err != nil {
		return nil, err
	}
	from, size := int64(c.in.offset), c.in.size%c.f.blockSize
	if from+size > int64(len(fragment)) {
		return nil, filesystem.Corrupt("a tail of %d bytes at offset %d of a fragment of %d", size, from, len(fragment))
	}
	c.tail = fragment[from : from+size]
	return c.tail, nil
}
