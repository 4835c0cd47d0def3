package inflate

import (
	"encoding/binary"
	"io"
)

// fixed makes the tables of a block with fixed codes.
func (d *Decoder) fixed() error {
	for i := range maxLiterals {
		switch {
		case i < 144, i >= 280:
			d.lengths[i] = 8
		case i < 256:
			d.lengths[i] = 9
		default:
			d.lengths[i] = 7
		}
	}
	for i := range maxDistances {
		d.lengths[maxLiterals+i] = 5
	}
	return d.tables(maxLiterals, maxDistances)
}

// tables makes the tables for the lengths of codes.
func (d *Decoder) tables(literals, distances int) error {
	if err := d.literals.build(d.lengths[:literals], d.symbols.literals[:], literalBits); err != nil {
		return err
	}
	return d.distances.build(d.lengths[literals:literals+distances], d.symbols.distances[:], distanceBits)
}

// dynamic makes the tables of a block that begins with the lengths of its codes.
func (d *Decoder) dynamic() error {
	header, err := d.take(14)
	if err != nil {
		return err
	}
	literals, distances, codes := int(header&31)+257, int(header>>5&31)+1, int(header>>10)+4
	if literals > 286 || distances > 30 {
		return ErrCorrupt
	}
	var lengths [len(codeOrder)]byte
	for _, symbol := range []byte(codeOrder[:codes]) {
		n, err := d.take(3)
		if err != nil {
			return err
		}
		lengths[symbol] = byte(n)
	}
	if err := d.literals.build(lengths[:], d.symbols.lengths[:], codeBits); err != nil {
		return err
	}
	if err := d.readLengths(literals + distances); err != nil {
		return err
	}
	if d.lengths[endOfBlock] == 0 {
		return ErrCorrupt
	}
	return d.tables(literals, distances)
}

// readLengths reads n lengths of codes.
func (d *Decoder) readLengths(n int) error {
	for i := 0; i < n; {
		d.fill()
		e, err := d.lookup(&d.literals)
		if err != nil {
			return err
		}
		length, bits, repeat := byte(e.value()), uint(0), 1
		switch length {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			length, bits, repeat = d.lengths[i-1], 2, 3
		case 17:
			length, bits, repeat = 0, 3, 3
		case 18:
			length, bits, repeat = 0, 7, 11
		}
		more, err := d.take(bits)
		if err != nil {
			return err
		}
		if repeat += int(more); repeat > n-i {
			return ErrCorrupt
		}
		for range repeat {
			d.lengths[i] = length
			i++
		}
	}
	return nil
}

// lookup takes the next code. The caller has called fill.
func (d *Decoder) lookup(t *table) (entry, error) {
	e := t.entries[d.bits&(1<<t.first-1)]
	n := e.length()
	if e&kindTable != 0 {
		e = t.entries[e.value()+int(d.bits>>t.first&(1<<e.extra()-1))]
		n += e.length()
	}
	switch {
	case n > d.count:
		return 0, io.ErrUnexpectedEOF
	case e.length() == 0:
		return 0, ErrCorrupt
	}
	d.bits >>= n
	d.count -= n
	return e, nil
}

// block decodes a block of codes to dst, from out on. It returns the new end of what is
// written.
func (d *Decoder) block(dst []byte, out int) (_ int, err error) {
	for done := false; !done && err == nil; {
		if len(d.src)-d.in >= fastInput && len(dst)-out >= fastOutput {
			out, done, err = d.fast(dst, out)
		} else {
			out, done, err = d.slow(dst, out)
		}
	}
	return out, err
}

// slow decodes one symbol, anywhere in dst and src.
func (d *Decoder) slow(dst []byte, out int) (_ int, done bool, err error) {
	d.fill()
	e, err := d.lookup(&d.literals)
	switch {
	case err != nil || e&kindEnd != 0:
		return out, true, err
	case e&kindLiteral != 0 && out == len(dst):
		return out, true, ErrFull
	case e&kindLiteral != 0:
		dst[out] = byte(e.value())
		return out + 1, false, nil
	}
	length, err := d.ranged(e)
	if err != nil {
		return out, true, err
	}
	d.fill()
	if e, err = d.lookup(&d.distances); err != nil {
		return out, true, err
	}
	distance, err := d.ranged(e)
	switch {
	case err != nil:
		return out, true, err
	case distance > out:
		return out, true, ErrCorrupt
	}
	for ; length > 0 && out < len(dst); length-- {
		dst[out] = dst[out-distance]
		out++
	}
	if length > 0 {
		return out, true, ErrFull
	}
	return out, false, nil
}

// ranged returns the length or distance of an entry and its extra bits.
func (d *Decoder) ranged(e entry) (int, error) {
	if e.value() == 0 {
		return 0, ErrCorrupt
	}
	more, err := d.take(e.extra())
	return e.value() + int(more), err
}

const (
	maxLength = 258
	// fastInput and fastOutput are the bytes that fast needs before each symbol: it fills up
	// twice, and writes up to two literals and a copy, which it rounds up to 8 bytes.
	fastInput  = 16
	fastOutput = 2 + maxLength + 8
)

// fast decodes symbols while it is far from the ends of dst and src. It is what slow is,
// without the checks that this makes needless, and with its state in registers.
func (d *Decoder) fast(dst []byte, out int) (_ int, done bool, err error) {
	src, in, bits, count := d.src, d.in, d.bits, d.count
	literals, distances := d.literals.entries, d.distances.entries
	first, near := (*[1 << literalBits]entry)(literals), (*[1 << distanceBits]entry)(distances)
	for len(src)-in >= fastInput && len(dst)-out >= fastOutput {
		bits |= binary.LittleEndian.Uint64(src[in:]) << (count & 63)
		in += int(63-count) / 8
		count |= 56
		e := first[bits&(1<<literalBits-1)]
		if e&kindLiteral != 0 { // at most two literals leave enough bits for a length
			bits >>= e & 63
			count -= e.length()
			dst[out] = byte(e >> 16)
			out++
			if e = first[bits&(1<<literalBits-1)]; e&kindLiteral != 0 {
				bits >>= e & 63
				count -= e.length()
				dst[out] = byte(e >> 16)
				out++
				e = first[bits&(1<<literalBits-1)]
			}
		}
		if e&kindTable != 0 {
			bits >>= literalBits
			count -= literalBits
			e = literals[e.value()+int(bits&(1<<e.extra()-1))]
		}
		if e&(kindLiteral|kindEnd) != 0 || e.value() == 0 {
			if bits, count = bits>>(e&63), count-e.length(); e&kindLiteral != 0 {
				dst[out] = byte(e >> 16)
				out++
				continue
			}
			if done = true; e&kindEnd == 0 {
				err = ErrCorrupt
			}
			break
		}
		bits >>= e & 63
		length := e.value() + int(bits&(1<<e.extra()-1))
		bits >>= e.extra()
		count -= e.length() + e.extra()

		bits |= binary.LittleEndian.Uint64(src[in:]) << (count & 63)
		in += int(63-count) / 8
		count |= 56
		e = near[bits&(1<<distanceBits-1)]
		if e&kindTable != 0 {
			bits >>= distanceBits
			count -= distanceBits
			e = distances[e.value()+int(bits&(1<<e.extra()-1))]
		}
		bits >>= e & 63
		distance := e.value() + int(bits&(1<<e.extra()-1))
		bits >>= e.extra()
		count -= e.length() + e.extra()
		if e.value() == 0 || distance > out {
			done, err = true, ErrCorrupt
			break
		}
		move(dst[:out+length+8], out, distance, length)
		out += length
	}
	d.in, d.bits, d.count = in, bits, count
	return out, done, err
}

// move copies length bytes from distance bytes before out. It may also write the 7 bytes
// behind.
func move(dst []byte, out, distance, length int) {
	from, end := out-distance, out+length
	switch {
	case distance >= length && length > 16:
		copy(dst[out:end], dst[from:])
	case distance >= 8:
		for ; out < end; out, from = out+8, from+8 {
			binary.LittleEndian.PutUint64(dst[out:], binary.LittleEndian.Uint64(dst[from:]))
		}
	default:
		for ; out < end; out, from = out+1, from+1 {
			dst[out] = dst[from]
		}
	}
}
