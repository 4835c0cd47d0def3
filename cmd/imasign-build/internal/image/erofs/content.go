package erofs

import (
	"errors"
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// maxPooled is the size in bytes up to which a decoded extent's memory is kept for other
// files.
const maxPooled = 4 << 20

// Open opens the content of a regular file.
func (f *FileSystem) Open(id filesystem.ID) (filesystem.Content, error) {
	n, err := f.node(id)
	if err != nil {
		return nil, err
	}
	if !n.Mode.IsRegular() {
		return nil, filesystem.Corrupt("it is not a regular file")
	}
	return f.content(n), nil
}

// buffers are the memory of one open file. They are used again by others.
type buffers struct {
	index, data window
	plain       []byte // the decoded extent
}

// content reads what an inode contains: that of a file, of a directory, or the target of a
// symbolic link.
type content struct {
	*node
	*buffers

	fs     *FileSystem
	mapper *mapper // nil before a compressed file is read
	extent extent  // whose content is in plain
}

func (f *FileSystem) content(n *node) *content {
	b, ok := f.buffers.Get().(*buffers)
	if !ok {
		b = &buffers{}
	}
	b.index.reset(f, indexAhead)
	b.data.reset(f, 0)
	return &content{node: n, buffers: b, fs: f}
}

// release ends the use of the content.
func (c *content) release() {
	if c.buffers == nil {
		return
	}
	if cap(c.plain) > maxPooled {
		c.plain = nil
	}
	c.fs.buffers.Put(c.buffers)
	c.buffers = nil
}

// Close implements [io.Closer].
func (c *content) Close() error {
	c.release()
	return nil
}

var (
	errClosed   = errors.New("the file is closed")
	errNegative = errors.New("a negative offset")
)

// ReadAt implements [io.ReaderAt].
func (c *content) ReadAt(p []byte, at int64) (done int, err error) {
	switch {
	case c.buffers == nil:
		return 0, errClosed
	case at < 0:
		return 0, errNegative
	case at >= c.Size && len(p) > 0:
		return 0, io.EOF
	}
	if rest := c.Size - at; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	for done < len(p) {
		n, err := c.piece(p[done:], at+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, err
}

// piece reads at least one byte, which is before the end.
func (c *content) piece(p []byte, at int64) (int, error) {
	switch c.layout {
	case flatPlain, flatInline:
		return c.flat(p, at)
	case chunkBased:
		return c.chunks(p, at)
	}
	return c.compressed(p, at)
}

// compressed reads from one extent. One that p holds completely is decoded into p.
func (c *content) compressed(p []byte, at int64) (n int, err error) {
	if c.mapper == nil {
		if c.mapper, err = newMapper(c.fs, c.node, &c.index); err != nil {
			return 0, err
		}
	}
	if !c.extent.holds(at) {
		e, err := c.mapper.extentAt(at)
		if err != nil {
			return 0, err
		}
		if !e.fragment && at == e.from && int64(len(p)) >= e.end-e.from {
			return int(e.end - e.from), c.fs.decode(p[:e.end-e.from], &e, &c.data)
		}
		if err := c.keep(&e); err != nil {
			return 0, err
		}
	}
	if e := &c.extent; e.fragment {
		p = p[:min(int64(len(p)), e.end-at)]
		return len(p), c.fs.readPacked(p, e.at+at-e.from)
	}
	return copy(p, c.plain[at-c.extent.from:]), nil
}

// keep decodes an extent, and keeps the result.
func (c *content) keep(e *extent) error {
	c.extent = extent{}
	if !e.fragment {
		c.plain = resize(c.plain, int(e.end-e.from))
		if err := c.fs.decode(c.plain, e, &c.data); err != nil {
			return err
		}
	}
	c.extent = *e
	return nil
}

// resize returns a slice of n bytes, in the memory of b if it is large enough.
func resize(b []byte, n int) []byte {
	if n > cap(b) {
		return make([]byte, n)
	}
	return b[:n]
}
