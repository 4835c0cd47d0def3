package rpmsign

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cavaliergopher/rpm"
)

// Limits of what cavaliergopher/rpm is given to read. maxReread is its own: bytes of data
// in one header. maxRereadMemory bounds what it allocates for the tags of both headers.
// An array of empty strings takes sixteen times its size in the file.
const (
	maxReread       = 32 << 20
	maxRereadMemory = 64 << 20
)

// reread reads the headers of a package that was just written to r and compares every tag
// with what was to be written: want in the signature header, and the main header of p.
// size is the length of the signature header with its padding.
//
// The reader is cavaliergopher/rpm, which shares no code with this package. It checks
// little, so it gets only bytes that parseHeader has accepted. It does not get headers over
// maxReread or maxRereadMemory. For these, reread checks only that parseHeader accepts the
// signature header and that the main header is unchanged. Errors wrap errReread or are those
// of r.
func (p *Package) reread(r io.ReaderAt, size int64, want []value) error {
	b := make([]byte, leadSize+size+int64(len(p.main.raw)))
	if _, err := r.ReadAt(b, 0); err != nil {
		return err
	}
	mainAt := leadSize + size
	sig, err := readHeader(bytes.NewReader(b), leadSize, mainAt, signatureLimits())
	if err != nil {
		return fmt.Errorf("%w: signature header: %w", errReread, err)
	}
	if !bytes.Equal(b[:leadSize], p.lead) || !bytes.Equal(b[mainAt:], p.main.raw) {
		return fmt.Errorf("%w: the lead or the main header differs", errReread)
	}
	if max(len(sig.data), len(p.main.data)) > maxReread || sig.rereadMemory()+p.main.rereadMemory() > maxRereadMemory {
		return nil
	}
	m, err := rpm.Read(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%w: %w", errReread, err)
	}
	if start, end := m.HeaderRange(); int64(start) != mainAt || end != len(b) {
		return fmt.Errorf("%w: it finds the main header at %d to %d, not at %d to %d", errReread, start, end, mainAt, len(b))
	}
	if tag, ok := agree(&m.Signature, want, tagHeaderSignatures, tagReserved, tagReservedSpace); !ok {
		return fmt.Errorf("%w: signature header: %s differs", errReread, signatureTagName(tag))
	}
	if tag, ok := agree(&m.Header, p.main.values(func(tagNumber) bool { return true })); !ok {
		return fmt.Errorf("%w: main header: tag %d differs", errReread, tag)
	}
	return nil
}

// rereadMemory is how many bytes cavaliergopher/rpm allocates for the header's tags.
func (h *header) rereadMemory() (n int64) {
	const tagSize, stringSize, numberSize = 128, 16, 8
	for _, e := range h.entries {
		n += tagSize + int64(e.length)
		switch {
		case e.typ.isString():
			n += stringSize * int64(e.count)
		case e.typ.width() > 1:
			n += numberSize * int64(e.count)
		}
	}
	return n
}

// agree reports whether the header has the tags that are wanted and no others, except
// those that are ignored. It returns a tag that differs. Of a repeated tag the library
// keeps the last.
func agree(got *rpm.Header, want []value, ignored ...tagNumber) (tagNumber, bool) {
	wanted := make(map[tagNumber]value, len(want))
	for _, v := range want {
		wanted[v.tag] = v
	}
	for _, v := range wanted {
		if !v.is(got.GetTag(int(v.tag))) {
			return v.tag, false
		}
	}
	for _, tag := range ignored {
		delete(got.Tags, int(tag))
	}
	for n := range got.Tags {
		if _, ok := wanted[tagNumber(n)]; !ok {
			return tagNumber(n), false
		}
	}
	return 0, true
}

// is reports whether a tag has the type and the data of the value.
func (v value) is(t *rpm.Tag) bool {
	if t == nil || t.Type != rpm.TagType(v.typ) {
		return false
	}
	rest := v.data
	switch items := t.Value.(type) {
	case []byte:
		return bytes.Equal(items, rest)
	case []string:
		for _, s := range items {
			if len(rest) <= len(s) || string(rest[:len(s)]) != s || rest[len(s)] != 0 {
				return false
			}
			rest = rest[len(s)+1:]
		}
	case []int64:
		for _, n := range items {
			var number [8]byte
			binary.BigEndian.PutUint64(number[:], uint64(n))
			end := number[8-v.typ.width():]
			if !bytes.HasPrefix(rest, end) {
				return false
			}
			rest = rest[len(end):]
		}
	}
	return len(rest) == 0
}
