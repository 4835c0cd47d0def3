package ext4

import (
	"errors"
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// maxBlocks is the number of logical blocks that a file can have.
const maxBlocks = 1<<32 - 1

var errOffset = errors.New("negative offset")

// run is a piece of a file: blocks from a logical block on that are adjacent in the file
// system, or a hole. Unwritten blocks are a hole.
type run struct {
	logical, blocks uint64
	physical        uint64 // zero for a hole
}

func (r *run) has(logical uint64) bool { return logical-r.logical < r.blocks }

// mapping finds the run that has a logical block. The run may begin before it, and may end
// before the next extent does.
type mapping interface {
	find(logical uint64) (run, error)
}

// content is the content of a file or directory in blocks.
type content struct {
	fs   *FileSystem
	size int64
	mapping
	last run
}

// Open opens the content of a regular file.
func (f *FileSystem) Open(id filesystem.ID) (filesystem.Content, error) {
	in, err := f.file(id)
	if err != nil {
		return nil, err
	}
	if in.mode&typeMask != typeFile {
		return nil, filesystem.Corrupt("inode %d is not a regular file", id)
	}
	return f.open(in)
}

// open opens the content of any inode.
func (f *FileSystem) open(in *inode) (filesystem.Content, error) {
	if in.inline != nil {
		return in.inlineContent(), nil
	}
	return f.blockContent(in)
}

// blockContent opens the content of an inode that has it in blocks.
func (f *FileSystem) blockContent(in *inode) (c *content, err error) {
	c = &content{fs: f, size: in.size}
	if in.flags&flagExtents != 0 {
		c.mapping, err = newExtents(in)
	} else {
		c.mapping = &indirect{fs: f, root: in.blockMap()}
	}
	return c, err
}

// window returns the part of p that is inside of size bytes, from offset on, and io.EOF as
// end if this is not all of p.
func window(p []byte, offset, size int64) (part []byte, end, err error) {
	if offset < 0 {
		return nil, nil, errOffset
	}
	if left := max(size-offset, 0); left < int64(len(p)) {
		return p[:left], io.EOF, nil
	}
	return p, nil, nil
}

// ReadAt implements [io.ReaderAt].
func (c *content) ReadAt(p []byte, offset int64) (n int, err error) {
	p, end, err := window(p, offset, c.size)
	if err != nil {
		return 0, err
	}
	for n < len(p) {
		piece, err := c.readRun(p[n:], offset+int64(n))
		if err != nil {
			return n, err
		}
		n += piece
	}
	return n, end
}

// readRun reads up to the end of a run. p and offset are inside of the file.
func (c *content) readRun(p []byte, offset int64) (int, error) {
	r, err := c.run(uint64(offset / c.fs.blockSize))
	if err != nil {
		return 0, err
	}
	skip := offset - int64(r.logical)*c.fs.blockSize
	if left := int64(r.blocks)*c.fs.blockSize - skip; left < int64(len(p)) {
		p = p[:left]
	}
	if r.physical == 0 {
		clear(p)
		return len(p), nil
	}
	return len(p), readFull(c.fs.r, p, int64(r.physical)*c.fs.blockSize+skip)
}

// run returns the run that has a logical block.
func (c *content) run(logical uint64) (run, error) {
	if !c.last.has(logical) {
		r, err := c.find(logical)
		if err != nil {
			return run{}, err
		}
		c.last = r
	}
	return c.last, nil
}

// Close does nothing.
func (c *content) Close() error { return nil }
