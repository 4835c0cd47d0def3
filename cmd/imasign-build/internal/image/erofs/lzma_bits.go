package erofs

// The range coder of LZMA. Data that ends too early goes on with zeros; decode notices it.

// next returns the next byte.
func (d *lzmaDecoder) next() (b byte) {
	if d.in < len(d.src) {
		b = d.src[d.in]
	}
	d.in++
	return b
}

// bit decodes one bit.
func (d *lzmaDecoder) bit(p *uint16) uint32 {
	if d.span < lzmaMinRange {
		d.span, d.code = d.span<<8, d.code<<8|uint32(d.next())
	}
	v := *p
	bound := d.span >> 11 * uint32(v)
	if d.code < bound {
		d.span = bound
		*p = v + (1<<11-v)>>5
		return 0
	}
	d.span, d.code = d.span-bound, d.code-bound
	*p = v - v>>5
	return 1
}

// tree decodes a number of bits, the highest first.
func (d *lzmaDecoder) tree(p []uint16, bits uint) int {
	p = p[:1<<bits]
	span, code := d.span, d.code
	m := 1
	for m < len(p) {
		if span < lzmaMinRange {
			span, code = span<<8, code<<8|uint32(d.next())
		}
		v := p[m]
		if bound := span >> 11 * uint32(v); code < bound {
			span = bound
			p[m] = v + (1<<11-v)>>5
			m <<= 1
		} else {
			span, code = span-bound, code-bound
			p[m] = v - v>>5
			m = m<<1 | 1
		}
	}
	d.span, d.code = span, code
	return m - len(p)
}

// reverse decodes a number of bits, the lowest first.
func (d *lzmaDecoder) reverse(p []uint16, bits uint) (value int) {
	m := 1
	for i := range bits {
		b := int(d.bit(&p[m]))
		m = m<<1 | b
		value |= b << i
	}
	return value
}

// direct decodes bits that have no probabilities.
func (d *lzmaDecoder) direct(bits uint) (value int) {
	for range bits {
		if d.span < lzmaMinRange {
			d.span, d.code = d.span<<8, d.code<<8|uint32(d.next())
		}
		d.span >>= 1
		value <<= 1
		if d.code >= d.span {
			d.code -= d.span
			value |= 1
		}
	}
	return value
}

// literal decodes a byte.
func (d *lzmaDecoder) literal() bool {
	previous := 0
	if d.out > 0 {
		previous = int(d.dst[d.out-1])
	}
	context := d.out&(1<<d.lp-1)<<d.lc + previous>>(8-d.lc)
	p := d.probability.literals[lzmaLiteral*context:][:lzmaLiteral]
	symbol := 1
	if d.state >= 7 { // after a match: what would continue it is unlikely
		if d.reps[0] >= d.out {
			return false
		}
		symbol = d.unlike(p, int(d.dst[d.out-d.reps[0]-1]))
	}
	span, code := d.span, d.code
	for symbol < 0x100 {
		if span < lzmaMinRange {
			span, code = span<<8, code<<8|uint32(d.next())
		}
		v := p[symbol]
		if bound := span >> 11 * uint32(v); code < bound {
			span = bound
			p[symbol] = v + (1<<11-v)>>5
			symbol <<= 1
		} else {
			span, code = span-bound, code-bound
			p[symbol] = v - v>>5
			symbol = symbol<<1 | 1
		}
	}
	d.span, d.code = span, code
	d.dst[d.out] = byte(symbol)
	d.out++
	switch {
	case d.state < 4:
		d.state = 0
	case d.state < 10:
		d.state -= 3
	default:
		d.state -= 6
	}
	return true
}

// unlike decodes the bits of a literal up to the first one that differs from those of match.
func (d *lzmaDecoder) unlike(p []uint16, match int) int {
	symbol := 1
	for symbol < 0x100 {
		match <<= 1
		expected := match >> 8 & 1
		b := int(d.bit(&p[(1+expected)<<8+symbol]))
		symbol = symbol<<1 | b
		if b != expected {
			break
		}
	}
	return symbol
}

// reset makes zeros and ones equally likely.
func (t *lzmaTables) reset() {
	for _, table := range [][]uint16{t.rep[:], t.rep0[:], t.rep1[:], t.rep2[:], t.special[:], t.align[:], t.literals[:]} {
		half(table)
	}
	for i := range t.match {
		half(t.match[i][:])
		half(t.long[i][:])
	}
	for i := range t.slot {
		half(t.slot[i][:])
	}
	t.lengths.reset()
	t.repLengths.reset()
}

func (l *lzmaLengths) reset() {
	l.choice, l.choice2 = lzmaHalf, lzmaHalf
	for i := range l.low {
		half(l.low[i][:])
		half(l.middle[i][:])
	}
	half(l.high[:])
}

func half(table []uint16) {
	for i := range table {
		table[i] = lzmaHalf
	}
}
