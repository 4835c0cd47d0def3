package inflate

import (
	"math/bits"
	"slices"
)

const (
	maxBits      = 15 // of a code
	maxLiterals  = 288
	maxDistances = 32

	literalBits  = 11 // of the first lookup of a literal or length
	distanceBits = 8  // of the first lookup of a distance
	codeBits     = 7  // of the only lookup of a length of a code
)

// An entry is what a code stands for. The lowest 8 bits are the length of the code, the
// next 8 the kind and the number of extra bits. Above is a literal, the base of a length or
// distance, or the position of a second table. Without a meaning, it is only a length.
type entry uint32

// Kinds of entries, besides lengths and distances.
const (
	kindLiteral entry = 0x80 << 8
	kindEnd     entry = 0x40 << 8
	kindTable   entry = 0x20 << 8 // a second table; the extra bits are its index
)

func (e entry) length() uint { return uint(e & 0xFF) }
func (e entry) extra() uint  { return uint(e >> 8 & 0x1F) }
func (e entry) value() int   { return int(e >> 16) }

// table finds the entry of the code that begins the next bits. Codes of up to first bits
// are in its first 1<<first entries. Longer ones are in second tables behind.
type table struct {
	entries []entry
	first   uint
}

// build makes the table for codes of the lengths, whose meanings are in symbols. A set of
// codes must be complete, except that there may be one code of one bit, or none.
func (t *table) build(lengths []byte, symbols []entry, first uint) error {
	var count [maxBits + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	left, most := 1, uint(0) // left: codes that are not used
	for n := uint(1); n <= maxBits; n++ {
		if left = left<<1 - count[n]; left < 0 {
			return ErrCorrupt
		}
		if count[n] > 0 {
			most = n
		}
	}
	if left > 0 && most > 1 {
		return ErrCorrupt
	}
	t.first = first
	t.entries = slices.Grow(t.entries[:0], 1<<first)[:1<<first]
	clear(t.entries)
	var next [maxBits + 1]uint16 // the next code of each length
	for n, code := 1, 0; n <= maxBits; n++ {
		code = (code + count[n-1]) << 1
		next[n] = uint16(code)
	}
	for symbol, n := range lengths {
		if n > 0 {
			t.add(bits.Reverse16(next[n])>>(16-n), uint(n), most, symbols[symbol])
			next[n]++
		}
	}
	return nil
}

// add adds a code of n bits, the first one lowest. The longest code has most bits.
func (t *table) add(code uint16, n, most uint, e entry) {
	if n <= t.first {
		fill(t.entries[:1<<t.first], int(code), 1<<n, e|entry(n))
		return
	}
	at, size := code&(1<<t.first-1), most-t.first
	second := t.entries[at]
	if second == 0 {
		second = entry(len(t.entries))<<16 | kindTable | entry(size)<<8 | entry(t.first)
		t.entries[at] = second
		t.entries = append(t.entries, make([]entry, 1<<size)...)
	}
	fill(t.entries[second.value():][:1<<size], int(code>>t.first), 1<<(n-t.first), e|entry(n-t.first))
}

// fill sets every step-th entry from a position on.
func fill(entries []entry, from, step int, e entry) {
	for i := from; i < len(entries); i += step {
		entries[i] = e
	}
}
