package rpmsign

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// value is an entry of a signature header to be written.
type value struct {
	tag   Tag
	typ   dataType
	count uint32
	data  []byte
}

// kept returns the entries of the old signature header that are written again:
// all but the region, the reserve, and what is named.
func (h *header) kept(drop ...Tag) []value {
	drop = append(drop, tagHeaderSignatures, tagReserved, tagReservedSpace)
	return h.values(func(t Tag) bool { return !slices.Contains(drop, t) })
}

// having returns the entries with one of the tags.
func (h *header) having(tags ...Tag) []value {
	return h.values(func(t Tag) bool { return slices.Contains(tags, t) })
}

func (h *header) values(take func(Tag) bool) []value {
	var list []value
	for _, e := range h.entries {
		if take(e.tag) {
			list = append(list, value{e.tag, e.typ, e.count, h.bytes(e)})
		}
	}
	return list
}

// build lays out a signature header as headerReload of rpm's lib/header.cc does:
// the region's entry, all others in the order of their tags, the data in the same
// order, each aligned, and the region's trailer. It ends with the data; the
// padding to eight bytes is not part of it.
func build(values []value) []byte {
	values = slices.Clone(values)
	slices.SortStableFunc(values, func(a, b value) int { return cmp.Compare(a.tag, b.tag) })
	count := len(values) + 1
	size := introSize + count*entrySize + trailerSize
	for _, v := range values {
		size += len(v.data) + 7
	}
	index := make([]byte, 0, introSize+count*entrySize)
	data := make([]byte, 0, size)
	for _, v := range values {
		for v.typ.width() > 1 && len(data)%int(v.typ.width()) != 0 {
			data = append(data, 0)
		}
		index = appendEntry(index, entry{tag: v.tag, typ: v.typ, offset: uint32(len(data)), count: v.count})
		data = append(data, v.data...)
	}
	region := entry{tag: tagHeaderSignatures, typ: typeBin, offset: uint32(len(data)), count: trailerCount}
	trailer := region
	trailer.offset = uint32(-int32(count * entrySize))
	data = appendEntry(data, trailer)

	raw := make([]byte, 0, introSize+count*entrySize+len(data))
	raw = append(raw, headerMagic...)
	raw = binary.BigEndian.AppendUint32(raw, uint32(count))
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(data)))
	raw = appendEntry(raw, region)
	raw = append(raw, index...)
	return append(raw, data...)
}

func appendEntry(b []byte, e entry) []byte {
	for _, word := range [...]uint32{uint32(e.tag), uint32(e.typ), e.offset, e.count} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}

// buildLength is len(build(values)), without building it.
func buildLength(values []value) int {
	values = slices.Clone(values)
	slices.SortStableFunc(values, func(a, b value) int { return cmp.Compare(a.tag, b.tag) })
	data := 0
	for _, v := range values {
		if w := int(v.typ.width()); w > 1 {
			data = (data + w - 1) / w * w
		}
		data += len(v.data)
	}
	return introSize + (len(values)+1)*entrySize + data + trailerSize
}

// usualReserve is what rpmbuild leaves: 4096 (__gpg_reserved_space) and 32 bytes.
const usualReserve = 4128

// reserve returns the room that the old header has to spare, and the tag it has
// it under; none (0) where it has no such tag.
func (h *header) reserve() (Tag, int) {
	for _, t := range []Tag{tagReservedSpace, tagReserved} {
		if e, ok := h.find(t); ok {
			return t, int(e.length)
		}
	}
	return 0, 0
}

// withReserve adds room for signatures to base and own, the signatures among the
// values. Whatever was signed or stripped before, the room is chosen as if own
// were put into the package as it was built: signatures that fit are taken out
// of it, so that the package keeps its size; others come on top of it.
//
// old are the signatures of the same kind that the header has now.
func (h *header) withReserve(base, own, old []value) []value {
	tag, room := h.reserve()
	if tag == 0 {
		return slices.Concat(base, own)
	}
	// The room of the package as it was built: what is there now plus what old
	// took of it, unless old came on top.
	none := buildLength(base)
	if took := buildLength(slices.Concat(base, old)) - none; room+took <= usualReserve || room > usualReserve {
		room += took
	}
	if takes := buildLength(slices.Concat(base, own)) - none; takes < room {
		room -= takes // at least a byte is left: a header has no empty entries
	}
	return append(slices.Concat(base, own), value{tag, typeBin, uint32(room), make([]byte, room)})
}

// checkLimit holds that rpm will read a header of these values.
func checkLimit(values []value, limit HeaderLimit) error {
	data := buildLength(values) - introSize - (len(values)+1)*entrySize
	if data > int(limit) {
		return fmt.Errorf("%w: %d bytes, a limit of %s (rpm %s) takes %d; --rpm-max-header sets the limit, P-256 signatures are shorter than RSA ones",
			ErrHeaderTooLarge, data, limit, limit.since(), limit)
	}
	if most := int(signatureLimits().entries); len(values)+1 > most {
		return fmt.Errorf("%w: %d entries, rpm takes %d", ErrHeaderTooLarge, len(values)+1, most)
	}
	return nil
}

func (l HeaderLimit) since() string {
	switch l {
	case Limit8K:
		return "4.14"
	case Limit64K:
		return "4.15"
	}
	return "4.16 and later"
}
