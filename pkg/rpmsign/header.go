package rpmsign

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
)

// A header consists of its magic, the number of entries, the number of bytes of data (32
// bits each, big-endian), the index and the data.
const (
	headerMagic  = "\x8e\xad\xe8\x01\x00\x00\x00\x00"
	introSize    = len(headerMagic) + 8
	entrySize    = 16
	trailerSize  = entrySize
	trailerCount = 16 // the count in a region's entry and in its trailer
)

// limits are rpm's own (hdrblobVerifyLengths and hdrchkArray of lib/header.cc).
type limits struct {
	region  tagNumber
	entries uint32
	data    uint32
}

const maxArray = 0x000f_ffff

func signatureLimits() limits { return limits{tagHeaderSignatures, 32, 64 << 20} }
func mainLimits() limits      { return limits{tagHeaderImmutable, 0xffff, 0x0fff_ffff} }

// entry is one line of a header's index.
type entry struct {
	tag    tagNumber
	typ    dataType
	offset uint32
	count  uint32
	length uint32 // bytes of data, found by measure
}

// header is a header as the file has it. parseHeader has checked that the data of every
// entry lie inside it.
type header struct {
	raw     []byte // from the magic to the last byte of data
	data    []byte
	entries []entry
	// inRegion is the number of entries that the immutable region covers, including its own.
	// regionData is the number of bytes of data that it covers, including its trailer. Both
	// are 0 if there is no region.
	inRegion   int
	regionData uint32
}

// readHeader reads the header at offset in r, which has size bytes.
func readHeader(r io.ReaderAt, offset, size int64, l limits) (*header, error) {
	var intro [introSize]byte
	if size-offset < int64(len(intro)) {
		return nil, fmt.Errorf("%w: it has %d bytes, fewer than the %d of its fixed part", ErrTruncated, max(0, size-offset), len(intro))
	}
	if _, err := io.ReadFull(io.NewSectionReader(r, offset, size-offset), intro[:]); err != nil {
		return nil, err
	}
	if string(intro[:len(headerMagic)]) != headerMagic {
		return nil, fmt.Errorf("%w: it does not start with a header's magic", ErrMalformed)
	}
	entries, data := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries > l.entries || data > l.data {
		return nil, fmt.Errorf("%w: %d entries and %d bytes of data, rpm accepts %d and %d", ErrMalformed, entries, data, l.entries, l.data)
	}
	length := int64(introSize) + int64(entries)*entrySize + int64(data)
	if length > size-offset {
		return nil, fmt.Errorf("%w: it has %d of its %d bytes", ErrTruncated, size-offset, length)
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(r, offset, length), raw); err != nil {
		return nil, err
	}
	return parseHeader(raw, l)
}

// parseHeader parses a whole header and checks it as hdrblobInit of rpm's lib/header.cc
// does. It keeps raw and does not copy it.
func parseHeader(raw []byte, l limits) (*header, error) {
	if len(raw) < introSize || string(raw[:len(headerMagic)]) != headerMagic {
		return nil, fmt.Errorf("%w: it does not start with a header's magic", ErrMalformed)
	}
	count, size := binary.BigEndian.Uint32(raw[8:]), binary.BigEndian.Uint32(raw[12:])
	if count > l.entries || size > l.data || int64(len(raw)) != int64(introSize)+int64(count)*entrySize+int64(size) {
		return nil, fmt.Errorf("%w: %d entries and %d bytes of data in %d bytes", ErrMalformed, count, size, len(raw))
	}
	if count == 0 {
		return nil, fmt.Errorf("%w: it has no entries", ErrMalformed)
	}
	h := &header{raw: raw, data: raw[introSize+int(count)*entrySize:], entries: make([]entry, count)}
	for i := range h.entries {
		h.entries[i] = parseEntry(raw[introSize+i*entrySize:])
	}
	if err := h.checkRegion(l.region); err != nil {
		return nil, err
	}
	return h, h.checkEntries()
}

func parseEntry(b []byte) entry {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	return entry{tag: tagNumber(word(0)), typ: dataType(word(1)), offset: word(2), count: word(3)}
}

// checkRegion finds the immutable region. The first entry points to a trailer in the data.
// The trailer's offset is negative: the number of bytes of the index that the region covers.
func (h *header) checkRegion(region tagNumber) error {
	first := h.entries[0]
	if first.tag != region {
		return nil // rpm 3 wrote such headers
	}
	if first.typ != typeBin || first.count != trailerCount {
		return fmt.Errorf("%w: the region's entry has type %d and count %d", ErrMalformed, first.typ, first.count)
	}
	end := int64(first.offset) + trailerSize
	if end > int64(len(h.data)) {
		return fmt.Errorf("%w: the region's trailer lies outside the data", ErrMalformed)
	}
	trailer := parseEntry(h.data[first.offset:])
	if trailer.tag == tagHeaderImage && region == tagHeaderSignatures {
		trailer.tag = region
	}
	if trailer.tag != region || trailer.typ != typeBin || trailer.count != trailerCount {
		return fmt.Errorf("%w: the region's trailer has tag %d, type %d and count %d", ErrMalformed, trailer.tag, trailer.typ, trailer.count)
	}
	covered := -int64(int32(trailer.offset))
	if covered%entrySize != 0 || covered < entrySize || covered/entrySize > int64(len(h.entries)) {
		return fmt.Errorf("%w: the region covers %d bytes of an index of %d", ErrMalformed, covered, len(h.entries)*entrySize)
	}
	h.inRegion, h.regionData = int(covered/entrySize), uint32(end)
	h.entries[0].length = trailerSize
	return nil
}

// checkEntries measures the data of every entry. It checks the entries as
// hdrblobVerifyInfo of rpm's lib/header.cc does and, as hdrblobImport does, that no data
// belong to no entry.
func (h *header) checkEntries() error {
	var end uint32
	first, all := 0, 0
	if h.inRegion > 0 {
		first = 1
	}
	for i := first; i < len(h.entries); i++ {
		e := &h.entries[i]
		if err := e.check(uint32(len(h.data)), end); err != nil {
			return fmt.Errorf("%w: entry %d, tag %d: %w", ErrMalformed, i, e.tag, err)
		}
		var ok bool
		if e.length, ok = e.measure(h.data[e.offset:]); !ok {
			return fmt.Errorf("%w: entry %d, tag %d: its data end outside the header", ErrMalformed, i, e.tag)
		}
		end, all = e.offset+e.length, e.typ.align(all)+int(e.length)
		if h.inRegion > 0 && end > h.regionData-trailerSize && e.offset < h.regionData {
			return fmt.Errorf("%w: entry %d, tag %d: its data overlap the region's trailer", ErrMalformed, i, e.tag)
		}
	}
	if h.inRegion > 0 {
		all += trailerSize
	}
	if all != len(h.data) {
		return fmt.Errorf("%w: %d bytes of data, but its entries have %d", ErrMalformed, len(h.data), all)
	}
	return nil
}

func (e *entry) check(size, end uint32) error {
	switch {
	case e.offset < end:
		return fmt.Errorf("its data overlap those of the entry before")
	case e.tag < tagI18NTable || e.tag > math.MaxInt32: // tags are signed in rpm up to 4.18
		return fmt.Errorf("this tag does not belong in a header")
	case e.typ < typeChar || e.typ > typeI18NString:
		return fmt.Errorf("type %d does not exist", e.typ)
	case e.count < 1 || e.count > size:
		return fmt.Errorf("%d items in %d bytes of data", e.count, size)
	case e.typ.width() > 1 && e.offset%e.typ.width() != 0:
		return fmt.Errorf("offset %d is not aligned for type %d", e.offset, e.typ)
	case e.offset > size:
		return fmt.Errorf("offset %d lies outside %d bytes of data", e.offset, size)
	case e.typ != typeBin && e.count > maxArray:
		return fmt.Errorf("%d items, rpm accepts %d", e.count, maxArray)
	case e.typ == typeString && e.count != 1:
		return fmt.Errorf("%d items, but its type is a single string", e.count)
	}
	return nil
}

// measure returns how many bytes of data the entry has, and false if they end outside the
// data of the header.
func (e *entry) measure(data []byte) (uint32, bool) {
	if !e.typ.isString() {
		length := uint64(e.typ.width()) * uint64(e.count)
		return uint32(length), length > 0 && length <= uint64(len(data))
	}
	at := 0
	for range e.count {
		n := bytes.IndexByte(data[at:], 0)
		if n < 0 {
			return 0, false
		}
		at += n + 1
	}
	return uint32(at), true
}

// find returns the first entry with a tag, which is the one that rpm verifies.
func (h *header) find(t tagNumber) (entry, bool) {
	for _, e := range h.entries {
		if e.tag == t {
			return e, true
		}
	}
	return entry{}, false
}

func (h *header) has(t tagNumber) bool {
	_, ok := h.find(t)
	return ok
}

func (h *header) bytes(e entry) []byte { return h.data[e.offset : e.offset+e.length] }

// strings returns the items of a string, of an array of strings or of a table of
// translations. It returns none for a tag that is missing or has another type.
func (h *header) strings(t tagNumber) []string {
	e, ok := h.find(t)
	if !ok || !e.typ.isString() {
		return nil
	}
	items := make([]string, 0, e.count)
	for text := string(h.bytes(e)); len(items) < int(e.count); {
		item, rest, _ := strings.Cut(text, "\x00")
		items, text = append(items, item), rest
	}
	return items
}

// text returns the first string of a tag, or "" if there is none.
func (h *header) text(t tagNumber) string {
	e, ok := h.find(t)
	if !ok || !e.typ.isString() {
		return ""
	}
	b := h.bytes(e)
	return string(b[:bytes.IndexByte(b, 0)])
}

// numbers returns the items of an integer tag of any width, unsigned. It returns none for
// a tag that is missing or has another type.
func (h *header) numbers(t tagNumber) []uint64 {
	e, ok := h.find(t)
	if !ok || e.typ == typeBin || e.typ.isString() {
		return nil
	}
	items, width := make([]uint64, e.count), int(e.typ.width())
	for i, b := range h.bytes(e) {
		items[i/width] = items[i/width]<<8 | uint64(b)
	}
	return items
}

// number returns the first number of a tag, and false if there is none.
func (h *header) number(t tagNumber) (uint64, bool) {
	e, ok := h.find(t)
	if !ok {
		return 0, false
	}
	b := h.bytes(e)
	switch e.typ {
	case typeInt8, typeChar:
		return uint64(b[0]), true
	case typeInt16:
		return uint64(binary.BigEndian.Uint16(b)), true
	case typeInt32:
		return uint64(binary.BigEndian.Uint32(b)), true
	case typeInt64:
		return binary.BigEndian.Uint64(b), true
	}
	return 0, false
}

// size returns the first number of a tag as a size, and false if there is none. A number
// that is too large becomes the largest size.
func (h *header) size(t tagNumber) (int64, bool) {
	n, ok := h.number(t)
	return int64(min(n, math.MaxInt64)), ok
}
