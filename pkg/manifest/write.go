package manifest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Writer writes one manifest. Its output is complete after Flush.
type Writer struct {
	buf  *bufio.Writer
	enc  *json.Encoder
	last string
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer {
	buf := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return &Writer{buf: buf, enc: enc}
}

// Header begins a container.
func (w *Writer) Header(h Header) error {
	w.last = ""
	return w.enc.Encode(h.toJSON())
}

// Line writes an entry of the container begun last. Entries come sorted by the
// bytes of their paths; equal paths may follow each other (tar has them).
func (w *Writer) Line(l Line) error {
	if l.Path < w.last {
		return fmt.Errorf("write manifest: %q comes after %q", l.Path, w.last)
	}
	w.last = l.Path
	return w.enc.Encode(l.toJSON())
}

// Flush writes out what is buffered.
func (w *Writer) Flush() error { return w.buf.Flush() }
