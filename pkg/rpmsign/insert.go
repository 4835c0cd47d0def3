package rpmsign

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A signature header that is not laid out as rpm lays it out today (unsorted tags, no
// region, tags behind it, something else than zeros where nothing is stored) could not
// be restored if it were laid out anew. File signatures are inserted into such a one
// as its last entries: all others, and all their data, stay where they are, so that
// what was inserted can be found and removed again.

// restorable reports whether a header without file signatures, and the padding behind
// it, come back byte for byte when signatures that build put in are left out.
func (h *header) restorable(pad []byte) bool {
	return bytes.Equal(build(h.withReserve(h.kept(), nil, nil)), h.raw) && zero(pad)
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// withPadding adds a reserve, where rpm looks at no byte, to values that are inserted.
// It keeps the padding behind the old header, unless that is the usual one.
func withPadding(own []value, pad []byte) []value {
	if zero(pad) {
		return own
	}
	return append(slices.Clip(own), value{tagReservedSpace, typeBin, uint32(len(pad)), pad})
}

// insert returns the header with more entries: the last ones of the region, or of the
// header where entries are behind its region.
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

// endsWithRegion reports whether the region covers the whole index and its trailer is
// the last of the data. rpm also reads a region with data behind its trailer.
func (h *header) endsWithRegion() bool {
	return h.inRegion > 0 && h.inRegion == len(h.entries) && int(h.regionData) == len(h.data)
}

// end is where the data of the last entry end.
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

// checkInserted holds that rpm will read insert(values).
func (h *header) checkInserted(values []value, limit uint32) error {
	return checkSize(len(h.entries)+len(values), len(h.data)+insertedSize(h.end(), values), limit)
}

// assemble makes a header of an index and data, both those of h but for their ends.
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
// padding that was behind it; nil where nothing was inserted.
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
