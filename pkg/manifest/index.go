package manifest

import (
	"errors"
	"fmt"
	"io"
)

// Index finds the entries of one container by path without holding them in
// memory: a map of offsets into the file, which must not change meanwhile. It is
// safe for concurrent use.
type Index struct {
	// Header is the container's.
	Header  Header
	file    io.ReaderAt
	lines   map[string]span
	ordered []string
}

type span struct {
	start    int64
	length   int
	attaches bool
}

// NewIndex reads a manifest of exactly one container and checks all of it.
func NewIndex(file io.ReaderAt, size int64) (*Index, error) {
	r := NewReader(io.NewSectionReader(file, 0, size))
	header, err := r.Next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	x := &Index{Header: header, file: file, lines: make(map[string]span)}
	for line, err := range r.Lines() {
		if err != nil {
			return nil, err
		}
		if _, twice := x.lines[line.Path]; twice {
			return nil, fmt.Errorf("%w: %q is there twice", ErrFormat, line.Path)
		}
		x.lines[line.Path] = span{r.start, len(r.lines.Bytes()), len(line.Xattrs) > 0}
		x.ordered = append(x.ordered, line.Path)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one container", ErrFormat)
	}
	return x, nil
}

// Paths returns the paths in the manifest's order; callers must not change it.
func (x *Index) Paths() []string { return x.ordered }

// Attaches reports whether there is an entry at path with xattrs to attach.
func (x *Index) Attaches(path string) bool { return x.lines[path].attaches }

// Find returns the entry at path and whether there is one.
func (x *Index) Find(path string) (Line, bool, error) {
	at, ok := x.lines[path]
	if !ok {
		return Line{}, false, nil
	}
	text := make([]byte, at.length)
	if _, err := x.file.ReadAt(text, at.start); err != nil {
		return Line{}, false, fmt.Errorf("read manifest: %w", err)
	}
	line, err := parseLine(text)
	if err == nil && line.Path != path {
		err = errors.New("the file changed while it was in use")
	}
	if err != nil {
		return Line{}, false, fmt.Errorf("%w: entry %q: %w", ErrFormat, path, err)
	}
	return line, true, nil
}
