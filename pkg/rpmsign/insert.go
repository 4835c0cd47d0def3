package rpmsign

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A signature header that is not laid out as rpm lays it out today (unsorted tags,
// gaps, no region, entries or bytes behind it) could not be restored if it were laid
// out anew. File signatures are inserted into such a one: every other entry keeps its
// place in the index, every other byte of data its place among the others, and what
// was inserted can be found and removed again.

// chunkAlign is what the length of inserted data is a multiple of, so that the data
// behind them, and the header's padding, stay aligned.
const chunkAlign = 8

// restorable reports whether a header without file signatures, and the padding behind
// it, come back byte for byte when signatures that build put in are left out.
func (h *header) restorable(pad []byte) bool {
	return bytes.Equal(build(h.withReserve(h.kept(), nil, nil)), h.raw) && zero(pad)
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// insert returns the header with own, file signatures, among its entries: where they
// belong by their tags, or behind the others where those are not sorted.
func (h *header) insert(own []value) []byte {
	if len(own) == 0 {
		return h.raw
	}
	at, offset := h.place(own[0].tag)
	entries, chunk := make([]entry, 0, len(own)), []byte(nil)
	for _, v := range own {
		start := v.typ.align(offset + len(chunk))
		chunk = append(chunk, make([]byte, start-offset-len(chunk))...)
		entries = append(entries, entry{tag: v.tag, typ: v.typ, offset: uint32(start), count: v.count})
		chunk = append(chunk, v.data...)
	}
	chunk = append(chunk, make([]byte, h.chunkLength(len(chunk))-len(chunk))...)
	index := slices.Insert(h.moved(offset, len(chunk)), at, entries...)
	data := slices.Insert(slices.Clone(h.data), offset, chunk...)
	return h.assemble(index, data, len(own), len(chunk))
}

// checkInserted holds that rpm will read insert(own).
func (h *header) checkInserted(own []value, limit HeaderLimit) error {
	_, offset := h.place(tagFileSignatures)
	end := offset
	for _, v := range own {
		end = v.typ.align(end) + len(v.data)
	}
	return checkSize(len(h.entries)+len(own), len(h.data)+h.chunkLength(end-offset), limit)
}

// chunkLength is the length of the chunk for n bytes of data and alignment. It is
// longer in a header with a reserve that starts with onTop as rpm left it, which tells
// the chunk from signatures that build put on top of a reserve.
func (h *header) chunkLength(n int) int {
	n = (n + chunkAlign - 1) / chunkAlign * chunkAlign
	if e, ok := h.reserveEntry(); ok && h.bytes(e)[0] == onTop {
		n += chunkAlign
	}
	return n
}

// place returns where in the index a tag is inserted, and where in the data.
func (h *header) place(t Tag) (at, offset int) {
	from, to := 0, len(h.entries)
	if h.inRegion > 0 {
		from, to = 1, h.inRegion
	}
	at = to
	if within := h.entries[from:to]; slices.IsSortedFunc(within, byTag) {
		if i := slices.IndexFunc(within, func(e entry) bool { return e.tag > t }); i >= 0 {
			at = from + i
		}
	}
	return at, h.dataAt(at)
}

func byTag(a, b entry) int { return int(a.tag) - int(b.tag) }

// dataAt is where the data of the entries before at end, with the gap behind them.
func (h *header) dataAt(at int) int {
	offset := len(h.data)
	if at < len(h.entries) {
		offset = int(h.entries[at].offset)
	}
	if h.inRegion > 0 && at <= h.inRegion {
		offset = min(offset, int(h.regionData)-trailerSize)
	}
	return offset
}

// moved returns the entries with their data moved by some bytes from an offset on.
func (h *header) moved(from, by int) []entry {
	index := slices.Clone(h.entries)
	for i := range index {
		if int(index[i].offset) >= from {
			index[i].offset += uint32(by)
		}
	}
	return index
}

// assemble makes a header of an index and data. Both are those of h but for some
// entries more (or fewer) in the region, and bytes of data.
func (h *header) assemble(index []entry, data []byte, entries, moved int) []byte {
	if h.inRegion > 0 {
		trailer := int(h.regionData) - trailerSize + moved
		binary.BigEndian.PutUint32(data[trailer+8:], -uint32((h.inRegion+entries)*entrySize))
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

// withoutInserted returns the header that insert made this one of, nil for one that
// it did not make. pad is the padding behind it.
func (h *header) withoutInserted(pad []byte) *header {
	at := slices.IndexFunc(h.entries, func(e entry) bool { return e.tag == tagFileSignatures })
	if at < 0 {
		return nil
	}
	n := 1
	if at+1 < len(h.entries) && h.entries[at+1].tag == tagFileSignatureLength {
		n++
	}
	base := h.remove(at, n)
	own := h.having(fileSignatureTags()...)
	if base == nil || base.has(tagFileSignatures) || base.has(tagFileSignatureLength) || base.restorable(pad) || !bytes.Equal(base.insert(own), h.raw) {
		return nil
	}
	return base
}

// remove takes n entries and their data out of the header; nil where that cannot be.
func (h *header) remove(at, n int) *header {
	offset := int(h.entries[at].offset)
	size := h.dataAt(at+n) - offset
	if size%chunkAlign != 0 || h.inRegion > 0 && at+n > h.inRegion {
		return nil
	}
	data := slices.Delete(slices.Clone(h.data), offset, offset+size)
	index := slices.Delete(h.moved(offset+size, -size), at, at+n)
	base, err := parseHeader(h.assemble(index, data, -n, -size), signatureLimits())
	if err != nil {
		return nil
	}
	return base
}
