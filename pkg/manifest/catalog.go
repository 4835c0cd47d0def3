package manifest

import (
	"errors"
	"fmt"
	"io"
)

// ErrNotListed means that a manifest has no container of this name.
var ErrNotListed = errors.New("not in the manifest")

// Catalog finds the containers of a manifest by name. It keeps only their headers in
// memory. [Catalog.Index] reads the entries of one container again. The file must not
// change while the Catalog is in use. A Catalog is safe for concurrent use.
type Catalog struct {
	file    io.ReaderAt
	headers []Header
	byName  map[string]section
}

// section is the place of a container in the file, in bytes.
type section struct{ start, end int64 }

// NewCatalog reads and checks a whole manifest of size bytes, with one or more containers.
// Two containers of the same name are an error. Errors wrap [ErrFormat], or are those of
// reading the file.
func NewCatalog(file io.ReaderAt, size int64) (*Catalog, error) {
	c := &Catalog{file: file, byName: map[string]section{}}
	r := NewReader(io.NewSectionReader(file, 0, size))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			c.end(size)
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		if _, twice := c.byName[h.Name]; twice {
			return nil, r.fail(fmt.Errorf("a second container has the name %q", h.Name))
		}
		c.end(r.start)
		c.headers = append(c.headers, h)
		c.byName[h.Name] = section{start: r.start}
	}
}

// end stores the end of the container that was added last.
func (c *Catalog) end(at int64) {
	if n := len(c.headers); n > 0 {
		name := c.headers[n-1].Name
		c.byName[name] = section{c.byName[name].start, at}
	}
}

// Headers returns the headers of the containers in the manifest's order. Callers must not
// change the slice.
func (c *Catalog) Headers() []Header { return c.headers }

// Index returns the index of the container with this name. The error wraps [ErrNotListed]
// if there is none, and [ErrFormat] if the file has changed.
func (c *Catalog) Index(name string) (*Index, error) {
	at, ok := c.byName[name]
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, ErrNotListed)
	}
	r := NewReader(io.NewSectionReader(c.file, at.start, at.end-at.start))
	h, err := r.Next()
	if err == nil && h.Name != name {
		err = fmt.Errorf("%w: the file changed while it was in use", ErrFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", name, err)
	}
	x, err := newIndex(c.file, at.start, h, r)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", name, err)
	}
	return x, nil
}
