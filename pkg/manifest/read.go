package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/imasign/imasign-build/internal/quote"
)

// maxLine limits the size of a line with its newline, in bytes. A line with an escaped
// path of PATH_MAX, the longest signature and long labels is much shorter.
const maxLine = 1 << 20

// Reader reads a manifest container by container, as archive/tar reads files.
//
// It checks keys, order, sizes and encodings, and that each line is exactly what a
// [Writer] would write. Therefore no key appears twice, and other JSON parsers read the
// same content. Errors wrap [ErrFormat] and name the line, or are those of reading the
// input. After an error every call returns the same error.
type Reader struct {
	lines  *bufio.Scanner
	number int
	start  int64  // offset of the current line in the input, in bytes
	peeked []byte // the next header, if it was read while looking for lines
	open   bool
	left   int64 // number of entries that are still missing according to the header
	order  order
	enc    encoder
	err    error
}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader) *Reader {
	reader := &Reader{lines: bufio.NewScanner(r)}
	reader.lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var read int64
	reader.lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		end := bytes.IndexByte(data, '\n')
		switch {
		case end >= 0:
			reader.start = read
			read += int64(end) + 1
			return end + 1, data[:end], nil
		case atEOF && len(data) > 0:
			return 0, nil, errNoNewline
		}
		return 0, nil, nil
	})
	return reader
}

var errNoNewline = errors.New("cut short, its end is missing")

// Next returns the header of the next container. It checks and skips the unread entries of
// the container before. After the last container the error is io.EOF. Input without a
// container is an error.
func (r *Reader) Next() (Header, error) {
	for _, err := range r.Lines() {
		if err != nil {
			return Header{}, err
		}
	}
	if r.err != nil {
		return Header{}, r.err
	}
	text := r.peeked
	if r.peeked = nil; text == nil {
		var err error
		if text, err = r.scan(); errors.Is(err, io.EOF) && r.number > 0 {
			return Header{}, io.EOF
		} else if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: it is empty", ErrFormat)
			return Header{}, r.keep(err)
		} else if err != nil {
			return Header{}, r.keep(err)
		}
	}
	h, err := r.header(text)
	if err != nil {
		return Header{}, r.fail(err)
	}
	r.open, r.left, r.order = true, h.Entries, newOrder(h)
	return h, nil
}

func (r *Reader) header(text []byte) (Header, error) {
	var j headerJSON
	if err := strict(text, &j); err != nil {
		return Header{}, err
	}
	h, err := j.header()
	if err != nil {
		return Header{}, err
	}
	return h, r.canonical(text, h.toJSON())
}

// Lines yields the unread entries of the container whose header Next returned. After an
// error it yields nothing more.
func (r *Reader) Lines() iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for r.open {
			l, err := r.line()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// line returns the container's next entry, or io.EOF after the last entry.
func (r *Reader) line() (Line, error) {
	text, err := r.scan()
	end := errors.Is(err, io.EOF)
	if err != nil && !end {
		return Line{}, r.keep(err)
	}
	if header := bytes.HasPrefix(text, []byte(`{"imasign_manifest"`)); header || end {
		if r.left != 0 {
			return Line{}, r.keep(fmt.Errorf("%w: cut short, %d entries are missing after line %d", ErrFormat, r.left, r.linesBefore(header)))
		}
		r.open, r.peeked = false, bytes.Clone(text)
		return Line{}, io.EOF
	}
	if r.left == 0 {
		return Line{}, r.fail(errors.New("more entries than the header states"))
	}
	l, err := parseLine(text)
	if err == nil {
		err = r.canonical(text, l.toJSON())
	}
	if err == nil {
		err = r.order.next(l.Path)
	}
	if err != nil {
		return Line{}, r.fail(err)
	}
	r.left--
	return l, nil
}

func (r *Reader) linesBefore(header bool) int {
	if header {
		return r.number - 1
	}
	return r.number
}

func parseLine(text []byte) (Line, error) {
	var j lineJSON
	if err := strict(text, &j); err != nil {
		return Line{}, err
	}
	return j.line()
}

// ParseLine reads one entry line with its newline, as a [Writer] writes it. It is for callers
// that know where a line is in a manifest that was read before. Errors wrap [ErrFormat].
func ParseLine(text []byte) (Line, error) {
	l, err := parseLine(text)
	if err == nil {
		var enc encoder
		var want []byte
		if want, err = enc.encode(l.toJSON()); err == nil && !bytes.Equal(text, want) {
			err = errNotCanonical
		}
	}
	if err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return l, nil
}

// scan returns the next line, or io.EOF after the last line.
func (r *Reader) scan() ([]byte, error) {
	if r.lines.Scan() {
		r.number++
		return r.lines.Bytes(), nil
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		r.number++
		return nil, r.fail(fmt.Errorf("longer than %d bytes", maxLine))
	case errors.Is(err, errNoNewline):
		r.number++
		return nil, r.fail(err)
	case err != nil:
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return nil, io.EOF
}

// canonical checks that text is the canonical encoding of j, which was read from it.
func (r *Reader) canonical(text []byte, j any) error {
	want, err := r.enc.encode(j)
	if err == nil && !bytes.Equal(text, want[:len(want)-1]) {
		err = errNotCanonical
	}
	return err
}

var errNotCanonical = errors.New("not in canonical form: keys are repeated, out of order or spelled differently, or there are spaces between them")

func (r *Reader) fail(err error) error {
	if errors.Is(err, ErrFormat) {
		return r.keep(fmt.Errorf("line %d: %w", r.number, err))
	}
	return r.keep(fmt.Errorf("line %d: %w: %w", r.number, ErrFormat, err))
}

func (r *Reader) keep(err error) error {
	r.open, r.err = false, err
	return err
}

// strict decodes one JSON value. Its errors never wrap io.EOF, which would look like the
// end of the manifest.
func strict(text []byte, into any) error {
	if len(text) == 0 {
		return errors.New("it is empty")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not a complete JSON object")
	} else if err != nil {
		return quote.Plain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value on the line")
	}
	return nil
}
