package manifest

import (
	"errors"
	"fmt"
	"io"
)

// ErrNotListed means that a manifest has no container of the name asked for.
var ErrNotListed = errors.New("not in the manifest")

// Catalog finds the containers of a manifest by name. It holds their headers
// alone: entries are read again, and held, for one container at a time (Index).
// The file must not change meanwhile. It is safe for concurrent use.
type Catalog struct {
	file    io.ReaderAt
	headers []Header
	byName  map[string]section
}

// section is where a container is in the file.
type section struct{ start, end int64 }

// NewCatalog reads a manifest of any number of containers, at least one, and
// checks all of it. Two containers of one name are an error.
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
			return nil, r.fail(fmt.Errorf("a second container is called %q", h.Name))
		}
		c.end(r.start)
		c.headers = append(c.headers, h)
		c.byName[h.Name] = section{start: r.start}
	}
}

// end notes where the container added last ends.
func (c *Catalog) end(at int64) {
	if n := len(c.headers); n > 0 {
		name := c.headers[n-1].Name
		c.byName[name] = section{c.byName[name].start, at}
	}
}

// Headers returns the containers in the manifest's order; callers must not change
// it.
func (c *Catalog) Headers() []Header { return c.headers }

// Index returns the index of the container called name. The error wraps ErrNotListed
// where there is none, and ErrFormat where the file has changed.
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
