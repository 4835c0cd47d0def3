package rpmsign

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// value is an entry of a signature header to be written.
type value struct {
	tag   tagNumber
	typ   dataType
	count uint32
	data  []byte
}

// kept returns the entries of the old signature header that are written again:
// all but the region, the reserve, and what is named.
func (h *header) kept(drop ...tagNumber) []value {
	drop = append(drop, tagHeaderSignatures, tagReserved, tagReservedSpace)
	return h.values(func(t tagNumber) bool { return !slices.Contains(drop, t) })
}

// having returns the entries with one of the tags.
func (h *header) having(tags ...tagNumber) []value {
	return h.values(func(t tagNumber) bool { return slices.Contains(tags, t) })
}

func (h *header) values(take func(tagNumber) bool) []value {
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
	values = sorted(values)
	size, data := measure(values)
	raw := make([]byte, 0, size)
	raw = append(raw, headerMagic...)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(values)+1))
	raw = binary.BigEndian.AppendUint32(raw, uint32(data))
	region := entry{tag: tagHeaderSignatures, typ: typeBin, offset: uint32(data - trailerSize), count: trailerCount}
	raw = appendEntry(raw, region)
	at := 0
	for _, v := range values {
		at = v.typ.align(at)
		raw = appendEntry(raw, entry{tag: v.tag, typ: v.typ, offset: uint32(at), count: v.count})
		at += len(v.data)
	}
	start := len(raw)
	for _, v := range values {
		raw = append(raw, make([]byte, v.typ.align(len(raw)-start)-(len(raw)-start))...)
		raw = append(raw, v.data...)
	}
	region.offset = -uint32((len(values) + 1) * entrySize)
	return appendEntry(raw, region)
}

func sorted(values []value) []value {
	values = slices.Clone(values)
	slices.SortStableFunc(values, func(a, b value) int { return cmp.Compare(a.tag, b.tag) })
	return values
}

// measure returns the bytes of a header of sorted values, and those of its data.
func measure(values []value) (size, data int) {
	for _, v := range values {
		data = v.typ.align(data) + len(v.data)
	}
	data += trailerSize
	return introSize + (len(values)+1)*entrySize + data, data
}

// align rounds an offset up to where data of the type may begin.
func (t dataType) align(offset int) int {
	width := max(1, int(t.width()))
	return (offset + width - 1) / width * width
}

func appendEntry(b []byte, e entry) []byte {
	for _, word := range [...]uint32{uint32(e.tag), uint32(e.typ), e.offset, e.count} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}

// buildLength is len(build(values)), without building it.
func buildLength(values []value) int {
	size, _ := measure(sorted(values))
	return size
}

// onTop, as the first byte of a reserve, says that the signatures lie beside it
// instead of having been taken out of it. rpm writes zeros there and never looks.
const onTop = 1

// reserve returns the room that the header has to spare, and the tag it has it
// under; none (0) where it has no such tag.
func (h *header) reserve() (tagNumber, int) {
	e, _ := h.reserveEntry()
	return e.tag, int(e.length)
}

func (h *header) reserveEntry() (entry, bool) {
	for _, t := range []tagNumber{tagReservedSpace, tagReserved} {
		if e, ok := h.find(t); ok {
			return e, true
		}
	}
	return entry{}, false
}

// withReserve adds room for signatures to base and own, the signatures among the
// values. old are the signatures of the same kind that the header has now.
//
// As rpmsign does it, signatures that fit are taken out of the reserve, so that
// the package keeps its size; others come on top of it, which rpmsign forgets and
// onTop remembers. So whatever was signed before, stripping gives back the bytes
// that rpmbuild wrote.
func (h *header) withReserve(base, own, old []value) []value {
	e, there := h.reserveEntry()
	if !there {
		return slices.Concat(base, own)
	}
	none, room := buildLength(base), int(e.length)
	if h.bytes(e)[0] != onTop {
		room += buildLength(slices.Concat(base, old)) - none
	}
	reserve := value{e.tag, typeBin, uint32(room), make([]byte, room)}
	switch takes := buildLength(slices.Concat(base, own)) - none; {
	case takes < room: // at least a byte is left: a header has no empty entries
		reserve.data = reserve.data[takes:]
		reserve.count = uint32(len(reserve.data))
	default:
		reserve.data[0] = onTop
	}
	return append(slices.Concat(base, own), reserve)
}

// checkLimit holds that rpm will read a header of these values.
func checkLimit(values []value, limit uint32) error {
	_, data := measure(sorted(values))
	return checkSize(len(values)+1, data, limit)
}

// checkSize holds that rpm will read a header of so many entries and bytes of data.
func checkSize(entries, data int, limit uint32) error {
	if data > int(limit) {
		return fmt.Errorf("%w: %d bytes, a limit of %s takes %d", ErrHeaderLimit, data, limitName(limit), limit)
	}
	if most := int(signatureLimits().entries); entries > most {
		return fmt.Errorf("%w: %d entries, rpm takes %d", ErrHeaderTooLarge, entries, most)
	}
	return nil
}

// limitName names a limit by the version of rpm that has it.
func limitName(limit uint32) string {
	switch limit {
	case limit8K:
		return "8K (rpm 4.14)"
	case limit64K:
		return "64K (rpm 4.15)"
	case limit64M:
		return "64M (rpm 4.16 and later)"
	}
	return fmt.Sprintf("%d bytes", limit)
}
