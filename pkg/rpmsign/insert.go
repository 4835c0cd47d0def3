package rpmsign

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Some signature headers have a layout that rpm no longer writes: unsorted tags, no region,
// tags after it, or unused bytes that are not zero. A new layout would lose it. File
// signatures are therefore inserted into such a header as its last entries. All other
// entries and their data stay where they are, so the signatures can be found and removed
// again.

// restorable reports whether build, given the entries of a header without file signatures,
// makes the same bytes again, including pad, the padding after it.
func (h *header) restorable(pad []byte) bool {
	return bytes.Equal(build(h.withReserve(h.kept(), nil, nil)), h.raw) && zero(pad)
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// withPadding adds the padding after the old header to values that are inserted, unless it
// is zeros. It stores the padding as a reserve, which rpm does not read.
func withPadding(own []value, pad []byte) []value {
	if zero(pad) {
		return own
	}
	return append(slices.Clip(own), value{tagReservedSpace, typeBin, uint32(len(pad)), pad})
}

// insert returns the header with values as its last entries. If the region is the whole
// header, it covers them.
func (h *header) insert(values []value) []byte {
	end := h.end()
	data := append(make([]byte, 0, len(h.data)+insertedSize(end, values)), h.data[:end]...)
	index := slices.Clone(h.entries)
	for _, v := range values {
		data = append(data, make([]byte, v.typ.align(len(data))-len(data))...)
		index = append(index, entry{tag: v.tag, typ: v.typ, offset: uint32(len(data)), count: v.count})
		data = append(data, v.data...)
	}
	return h.assemble(index, append(data, h.data[end:]...))
}

// endsWithRegion reports whether the region covers the whole index and its trailer ends the
// data. rpm also reads a region with data after its trailer.
func (h *header) endsWithRegion() bool {
	return h.inRegion > 0 && h.inRegion == len(h.entries) && int(h.regionData) == len(h.data)
}

// end returns the offset in the data where those of the last entry end.
func (h *header) end() int {
	if h.endsWithRegion() {
		return len(h.data) - trailerSize
	}
	return len(h.data)
}

func insertedSize(end int, values []value) int {
	at := end
	for _, v := range values {
		at = v.typ.align(at) + len(v.data)
	}
	return at - end
}

// checkInserted checks that rpm will read insert(values).
func (h *header) checkInserted(values []value, limit uint32) error {
	return checkSize(len(h.entries)+len(values), len(h.data)+insertedSize(h.end(), values), limit)
}

// assemble makes a header from an index and data that differ from those of h only at their
// ends.
func (h *header) assemble(index []entry, data []byte) []byte {
	if h.endsWithRegion() {
		trailer := len(data) - trailerSize
		index[0].offset = uint32(trailer)
		binary.BigEndian.PutUint32(data[trailer+8:], -uint32(len(index)*entrySize))
	}
	raw := make([]byte, 0, introSize+len(index)*entrySize+len(data))
	raw = append(raw, headerMagic...)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(index)))
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(data)))
	for _, e := range index {
		raw = appendEntry(raw, e)
	}
	return append(raw, data...)
}

// withoutInserted returns the header that file signatures were inserted into, and the
// padding that was after it. It returns nil if nothing was inserted.
func (h *header) withoutInserted() (base *header, pad []byte) {
	at := slices.IndexFunc(h.entries, func(e entry) bool { return e.tag == tagFileSignatures })
	if at < 0 || len(h.entries)-at > 3 {
		return nil, nil
	}
	if last := h.entries[len(h.entries)-1]; last.tag == tagReservedSpace {
		pad = h.bytes(last)
	}
	start, end := int(h.entries[at].offset), h.end()
	data := slices.Concat(h.data[:start], h.data[end:])
	base, err := parseHeader(h.assemble(slices.Clone(h.entries[:at]), data), signatureLimits())
	if err != nil || base.has(tagFileSignatures) || base.has(tagFileSignatureLength) || base.restorable(pad) {
		return nil, nil
	}
	own := withPadding(h.having(fileSignatureTags()...), pad)
	if !bytes.Equal(base.insert(own), h.raw) {
		return nil, nil
	}
	return base, pad
}
