package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Writer writes one manifest. The output is complete after Flush. A Writer returns an
// error for content that a [Reader] would refuse.
type Writer struct {
	buf   *bufio.Writer
	enc   encoder
	order order
	begun bool
	left  int64 // number of entries that are still missing according to the header
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{buf: bufio.NewWriterSize(w, 64<<10)} }

// Header writes a container's header. All entries of the container before must have been
// written.
func (w *Writer) Header(h Header) error {
	if err := w.complete(); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	w.begun, w.left, w.order = true, h.Entries, newOrder(h)
	return w.write(h.toJSON())
}

// Line writes an entry of the current container. Entries must be sorted by the bytes of
// their paths. Entries with the same path must be in the container's order. In a tree a
// path must not repeat.
func (w *Writer) Line(l Line) error {
	err := l.check()
	switch {
	case err != nil:
	case !w.begun || w.left == 0:
		err = errors.New("more entries than the header states")
	default:
		err = w.order.next(l.Path)
	}
	if err != nil {
		return fmt.Errorf("write manifest: %q: %w", l.Path, err)
	}
	w.left--
	return w.write(l.toJSON())
}

// Flush writes buffered data to the underlying writer. It returns an error if entries of
// the last container are missing.
func (w *Writer) Flush() error { return errors.Join(w.complete(), w.buf.Flush()) }

func (w *Writer) complete() error {
	if w.left > 0 {
		return fmt.Errorf("write manifest: %d entries fewer than the header states", w.left)
	}
	return nil
}

func (w *Writer) write(v any) error {
	text, err := w.enc.encode(v)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if len(text) > maxLine {
		return fmt.Errorf("write manifest: a line of %d bytes, but readers accept at most %d", len(text), maxLine)
	}
	_, err = w.buf.Write(text)
	return err
}

// order checks that paths are sorted.
type order struct {
	last    string
	repeats bool // paths may repeat
}

func newOrder(h Header) order { return order{repeats: h.Container != Tree} }

func (o *order) next(path string) error {
	switch {
	case path < o.last:
		return fmt.Errorf("%q comes after %q: entries are sorted by the bytes of their paths", path, o.last)
	case path == "." && !o.repeats:
		return fmt.Errorf("path %q: %w", path, errNotLocal)
	case path == o.last && !o.repeats:
		return fmt.Errorf("%q appears twice", path)
	}
	o.last = path
	return nil
}

// encoder encodes lines. It reuses its buffer.
type encoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

// encode returns the line with its newline. The bytes are valid until the next call.
func (e *encoder) encode(v any) ([]byte, error) {
	if e.enc == nil {
		e.enc = json.NewEncoder(&e.buf)
		e.enc.SetEscapeHTML(false)
	}
	e.buf.Reset()
	err := e.enc.Encode(v)
	return e.buf.Bytes(), err
}
