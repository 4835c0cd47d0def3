package rpmsign

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// value is an entry of a signature header that will be written.
type value struct {
	tag   tagNumber
	typ   dataType
	count uint32
	data  []byte
}

// kept returns the entries of the signature header that are written again: all except the
// region, the reserve and the tags in drop.
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

// build lays out a signature header as headerReload of rpm's lib/header.cc does. The
// region's entry comes first, then the others in the order of their tags, then the data in
// the same order, each aligned, and the region's trailer. The padding to eight bytes is not
// included.
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

// measure returns the size in bytes of a header of sorted values, and of its data.
func measure(values []value) (size, data int) {
	for _, v := range values {
		data = v.typ.align(data) + len(v.data)
	}
	data += trailerSize
	return introSize + (len(values)+1)*entrySize + data, data
}

// align rounds an offset up to the alignment of the type.
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

// buildLength returns len(build(values)) without building the header.
func buildLength(values []value) int {
	size, _ := measure(sorted(values))
	return size
}

// onTop, as the first byte of a reserve, says that the signatures take no room from it:
// they were added to it. rpm writes zeros there and never reads them.
const onTop = 1

// reserve returns the tag and the number of bytes of the header's room for signatures. Both
// are 0 if it has none.
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

// withReserve returns base, own and the room that is left for signatures. own are the new
// signatures, and old those of the same kind that the header has now.
//
// Like rpmsign, it takes signatures that fit out of the reserve, so the package keeps its
// size. Larger ones are added to the reserve. rpmsign does not record this; onTop does. So
// stripping restores the bytes that rpmbuild wrote, however often the package was signed.
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
	case takes < room: // at least one byte is left, because a header has no empty entries
		reserve.data = reserve.data[takes:]
		reserve.count = uint32(len(reserve.data))
	default:
		reserve.data[0] = onTop
	}
	return append(slices.Concat(base, own), reserve)
}

// checkLimit checks that rpm will read a header of these values.
func checkLimit(values []value, limit uint32) error {
	_, data := measure(sorted(values))
	return checkSize(len(values)+1, data, limit)
}

// checkSize checks that rpm will read a header with that many entries and bytes of data.
func checkSize(entries, data int, limit uint32) error {
	if data > int(limit) {
		return fmt.Errorf("%w: %d bytes, and the limit of %s is %d", ErrHeaderLimit, data, limitName(limit), limit)
	}
	if most := int(signatureLimits().entries); entries > most {
		return fmt.Errorf("%w: %d entries, rpm accepts %d", ErrHeaderTooLarge, entries, most)
	}
	return nil
}

// limitName returns a limit as a user sets it, with the version of rpm that has it.
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
