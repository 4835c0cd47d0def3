package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxLine bounds one line: a path of PATH_MAX in escapes, the longest signature
// and generous labels stay far below it.
const maxLine = 1 << 20

// Reader reads a manifest container by container, as archive/tar reads files.
// Everything is checked: unknown keys, order, sizes, encodings. Errors wrap
// ErrFormat and name the line.
type Reader struct {
	lines  *bufio.Scanner
	number int
	start  int64  // where the line scanned last begins in the input
	peeked []byte // a header met while reading the lines before it
	open   bool
	left   int64 // entries that the header still promises
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	reader := &Reader{lines: bufio.NewScanner(r)}
	reader.lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var read int64
	reader.lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		n, line, err := bufio.ScanLines(data, atEOF)
		if line != nil {
			reader.start = read
		}
		read += int64(n)
		return n, line, err
	})
	return reader
}

// Next returns the next container's header, skipping entries that were not read;
// io.EOF after the last one.
func (r *Reader) Next() (Header, error) {
	for _, err := range r.Lines() {
		if err != nil {
			return Header{}, err
		}
	}
	text := r.peeked
	r.peeked, r.open = nil, false
	if text == nil {
		var err error
		if text, err = r.scan(); err != nil {
			return Header{}, err
		}
	}
	var j headerJSON
	if err := strict(text, &j); err != nil {
		return Header{}, r.fail(err)
	}
	h, err := j.header()
	if err != nil {
		return Header{}, r.fail(err)
	}
	r.open, r.left = true, h.Entries
	return h, nil
}

// Lines yields the entries of the container whose header Next returned. After an
// error it yields nothing more.
func (r *Reader) Lines() iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		last := ""
		for r.open && r.peeked == nil {
			text, err := r.scan()
			if errors.Is(err, io.EOF) || bytes.HasPrefix(text, []byte(`{"imasign_manifest"`)) {
				r.open, r.peeked = false, bytes.Clone(text)
				if r.left != 0 {
					yield(Line{}, fmt.Errorf("%w: cut short, %d entries are missing before line %d", ErrFormat, r.left, r.number+1))
				}
				return
			}
			var l Line
			if err == nil {
				l, err = r.parse(text, last)
				r.left--
			}
			last = l.Path
			if err != nil {
				r.open = false
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

func (r *Reader) parse(text []byte, last string) (Line, error) {
	if r.left == 0 {
		return Line{}, r.fail(errors.New("more entries than the header says"))
	}
	l, err := parseLine(text)
	if err == nil && l.Path < last {
		err = fmt.Errorf("%q comes after %q: entries are sorted by the bytes of their paths", l.Path, last)
	}
	return l, r.fail(err)
}

func parseLine(text []byte) (Line, error) {
	var j lineJSON
	if err := strict(text, &j); err != nil {
		return Line{}, err
	}
	return j.line()
}

func (r *Reader) scan() ([]byte, error) {
	if r.lines.Scan() {
		r.number++
		return r.lines.Bytes(), nil
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		r.number++
		return nil, r.fail(fmt.Errorf("longer than %d bytes", maxLine))
	case err != nil:
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return nil, io.EOF
}

func (r *Reader) fail(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFormat):
		return fmt.Errorf("line %d: %w", r.number, err)
	}
	return fmt.Errorf("line %d: %w: %w", r.number, ErrFormat, err)
}

func strict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value on the line")
	}
	return nil
}
