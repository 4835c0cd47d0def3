package erofs

import (
	"encoding/binary"
	"errors"
)

// Sizes of the tables of LZMA.
const (
	lzmaStates     = 12
	lzmaPositions  = 1 << 4
	lzmaLiteral    = 0x300 // probabilities of a context of literals
	lzmaMinRange   = 1 << 24
	lzmaHalf       = 1 << 10
	lzmaMaxContext = 4 // bits of the context of literals
)

var errLZMA = errors.New("the data is damaged")

// lzmaDecoder decodes MicroLZMA: LZMA whose first byte, which is always zero, is the
// complement of the properties. It decodes into one piece of memory, which is its
// dictionary, and may end before the data does; libraries copy through a dictionary, and
// take several times as long.
type lzmaDecoder struct {
	src, dst    []byte
	in, out     int // positions
	span, code  uint32
	state       int
	reps        [4]int // the last distances
	lc, lp, pb  uint
	probability lzmaTables
}

// lzmaTables are probabilities of a bit being zero, in 1/2048.
type lzmaTables struct {
	match, long         [lzmaStates][lzmaPositions]uint16
	rep, rep0, rep1     [lzmaStates]uint16
	rep2                [lzmaStates]uint16
	slot                [4][64]uint16
	special             [128]uint16
	align               [16]uint16
	lengths, repLengths lzmaLengths
	literals            [lzmaLiteral << lzmaMaxContext]uint16
}

type lzmaLengths struct {
	choice, choice2 uint16
	low, middle     [lzmaPositions][8]uint16
	high            [256]uint16
}

// decode fills dst.
func (d *lzmaDecoder) decode(dst, src []byte) error {
	if len(src) < 5 {
		return errLZMA
	}
	properties := uint(^src[0])
	d.lc, d.lp, d.pb = properties%9, properties/9%5, properties/45
	if d.pb > 4 || d.lc+d.lp > lzmaMaxContext {
		return errLZMA
	}
	d.src, d.dst, d.in, d.out, d.state, d.reps = src, dst, 5, 0, 0, [4]int{}
	d.span, d.code = 1<<32-1, binary.BigEndian.Uint32(src[1:])
	d.probability.reset()
	for d.out < len(dst) {
		if d.in > len(src) || !d.symbol() {
			return errLZMA
		}
	}
	d.src, d.dst = nil, nil
	return nil
}

// symbol decodes a literal or a match, and reports whether it is valid.
func (d *lzmaDecoder) symbol() bool {
	p, position := &d.probability, d.out&(1<<d.pb-1)
	if d.bit(&p.match[d.state][position]) == 0 {
		return d.literal()
	}
	if d.bit(&p.rep[d.state]) == 0 {
		length := d.length(&p.lengths, position)
		copy(d.reps[1:], d.reps[:3])
		d.reps[0] = d.distance(length)
		d.state = afterMatch(d.state, 7)
		return d.copy(length)
	}
	if d.bit(&p.rep0[d.state]) == 0 {
		if d.bit(&p.long[d.state][position]) == 0 {
			d.state = afterMatch(d.state, 9)
			return d.copy(1)
		}
	} else {
		d.repeat()
	}
	length := d.length(&p.repLengths, position)
	d.state = afterMatch(d.state, 8)
	return d.copy(length)
}

// repeat makes an earlier distance the last one.
func (d *lzmaDecoder) repeat() {
	i := 1
	if d.bit(&d.probability.rep1[d.state]) != 0 {
		i = 2 + int(d.bit(&d.probability.rep2[d.state]))
	}
	last := d.reps[i]
	copy(d.reps[1:i+1], d.reps[:i])
	d.reps[0] = last
}

// afterMatch returns the state after a match. next is that after a literal and the match.
func afterMatch(state, next int) int {
	switch {
	case state < 7:
		return next
	case next == 7:
		return 10
	}
	return 11
}

// length decodes the length of a match.
func (d *lzmaDecoder) length(l *lzmaLengths, position int) int {
	switch {
	case d.bit(&l.choice) == 0:
		return 2 + d.tree(l.low[position][:], 3)
	case d.bit(&l.choice2) == 0:
		return 10 + d.tree(l.middle[position][:], 3)
	}
	return 18 + d.tree(l.high[:], 8)
}

// distance decodes how far before a match its data is, less one.
func (d *lzmaDecoder) distance(length int) int {
	p := &d.probability
	slot := d.tree(p.slot[min(length-2, 3)][:], 6)
	if slot < 4 {
		return slot
	}
	bits := uint(slot>>1 - 1)
	distance := (2 | slot&1) << bits
	if slot < 14 {
		return distance + d.reverse(p.special[distance-slot:], bits)
	}
	distance += d.direct(bits-4) << 4
	return distance + d.reverse(p.align[:], 4)
}

// copy copies a match, up to the end of dst.
func (d *lzmaDecoder) copy(length int) bool {
	back := d.reps[0] + 1
	if back > d.out {
		return false
	}
	end := min(d.out+length, len(d.dst))
	for d.out < end { // the source grows with every copy
		n := copy(d.dst[d.out:end], d.dst[d.out-back:d.out])
		d.out, back = d.out+n, back+n
	}
	return true
}
