package manifest

import (
	"errors"
	"fmt"
	"io"
)

// Index finds the entries of one container by path. It does not keep them in memory, only
// their offsets in the file. The file must not change while the Index is in use. An Index
// is safe for concurrent use.
type Index struct {
	// Header is the container's header.
	Header Header
	file   io.ReaderAt
	paths  []string           // distinct, in order
	lines  map[string]place   // the first line of each path
	again  map[string][]place // the further lines of a path; nearly always empty
}

type place struct {
	start    int64
	length   int
	attaches bool
}

// NewIndex reads and checks a whole manifest of size bytes, which must have exactly one
// container. Use [NewCatalog] for a manifest of several. Errors wrap [ErrFormat], or are
// those of reading the file.
func NewIndex(file io.ReaderAt, size int64) (*Index, error) {
	r := NewReader(io.NewSectionReader(file, 0, size))
	header, err := r.Next()
	if err != nil {
		return nil, err
	}
	x, err := newIndex(file, 0, header, r)
	if err != nil {
		return nil, err
	}
	if _, err := r.Next(); err == nil {
		return nil, fmt.Errorf("%w: more than one container", ErrFormat)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return x, nil
}

// newIndex indexes the container whose header r returned last. r reads file from the
// offset base.
func newIndex(file io.ReaderAt, base int64, header Header, r *Reader) (*Index, error) {
	x := &Index{Header: header, file: file, lines: map[string]place{}, again: map[string][]place{}}
	for line, err := range r.Lines() {
		if err != nil {
			return nil, err
		}
		at := place{base + r.start, len(r.lines.Bytes()), len(line.Xattrs) > 0}
		if _, there := x.lines[line.Path]; there {
			x.again[line.Path] = append(x.again[line.Path], at)
			continue
		}
		x.lines[line.Path] = at
		x.paths = append(x.paths, line.Path)
	}
	return x, nil
}

// Paths returns the distinct paths in the manifest's order. Callers must not change the
// slice.
func (x *Index) Paths() []string { return x.paths }

// Count returns the number of entries with this path. It is at most 1 unless the path
// repeats.
func (x *Index) Count(path string) int {
	if _, ok := x.lines[path]; !ok {
		return 0
	}
	return 1 + len(x.again[path])
}

// Attaches reports whether the n-th entry with this path, counted from 0, exists and has
// xattrs to attach.
func (x *Index) Attaches(path string, n int) bool {
	at, _ := x.place(path, n)
	return at.attaches
}

func (x *Index) place(path string, n int) (place, bool) {
	if n == 0 {
		at, ok := x.lines[path]
		return at, ok
	}
	if again := x.again[path]; n > 0 && n <= len(again) {
		return again[n-1], true
	}
	return place{}, false
}

// Find returns the n-th entry with this path, counted from 0, and reports whether it
// exists. Errors are those of reading the file, or wrap [ErrFormat] if the file has
// changed.
func (x *Index) Find(path string, n int) (Line, bool, error) {
	at, ok := x.place(path, n)
	if !ok {
		return Line{}, false, nil
	}
	text := make([]byte, at.length)
	if _, err := x.file.ReadAt(text, at.start); err != nil {
		return Line{}, false, fmt.Errorf("read manifest: entry %q: %w", path, err)
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
