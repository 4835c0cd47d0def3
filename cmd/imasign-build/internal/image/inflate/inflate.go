// Package inflate decodes DEFLATE data (RFC 1951) from one piece of memory into another.
//
// File systems store files in blocks of known size. Libraries decode streams: they copy
// every byte through a window and read the input a byte at a time, which takes about twice
// as long. Package flate of the standard library judges this package in its tests.
package inflate

import (
	"encoding/binary"
	"errors"
	"io"
)

var (
	// ErrCorrupt means input that is not DEFLATE data.
	ErrCorrupt = errors.New("damaged DEFLATE data")
	// ErrFull means data that does not end when the output is full.
	ErrFull = errors.New("more DEFLATE data than expected")
)

// Decoder decodes one piece of data after another. It keeps its tables. The zero value is
// ready for use.
type Decoder struct {
	symbols   *symbols
	src       []byte
	in        int    // position of the next byte that is not in bits
	bits      uint64 // the next bits, the first one lowest; those beyond count may be set
	count     uint   // of valid bits
	literals  table  // also for lengths
	distances table
	lengths   [maxLiterals + maxDistances]byte // of the codes of a block
}

// Decode decodes src into dst. It returns the number of bytes written to dst, and of bytes
// of src used, in whole bytes. The error is ErrCorrupt, io.ErrUnexpectedEOF if src ends
// too early, or ErrFull if dst is too small for all data. dst is then full, and everything
// in it is right.
func (d *Decoder) Decode(dst, src []byte) (written, used int, err error) {
	if d.symbols == nil {
		d.symbols = newSymbols()
	}
	d.src, d.in, d.bits, d.count = src, 0, 0, 0
	for last := false; !last; {
		var header uint64
		if header, err = d.take(3); err != nil {
			break
		}
		last = header&1 != 0
		switch header >> 1 {
		case 0:
			written, err = d.stored(dst, written)
		case 1:
			if err = d.fixed(); err == nil {
				written, err = d.block(dst, written)
			}
		case 2:
			if err = d.dynamic(); err == nil {
				written, err = d.block(dst, written)
			}
		default:
			err = ErrCorrupt
		}
		if err != nil {
			break
		}
	}
	used = d.in - int(d.count/8)
	d.src = nil
	return written, used, err
}

// fill takes whole bytes of the input until there are at least 56 bits, or none is left.
func (d *Decoder) fill() {
	if len(d.src)-d.in >= 8 {
		d.bits |= binary.LittleEndian.Uint64(d.src[d.in:]) << d.count
		d.in += int(63-d.count) / 8
		d.count |= 56
		return
	}
	for d.count < 56 && d.in < len(d.src) {
		d.bits = d.bits&(1<<d.count-1) | uint64(d.src[d.in])<<d.count
		d.in++
		d.count += 8
	}
}

// take returns the next n bits, at most 32.
func (d *Decoder) take(n uint) (uint64, error) {
	if d.count < n {
		if d.fill(); d.count < n {
			return 0, io.ErrUnexpectedEOF
		}
	}
	v := d.bits & (1<<n - 1)
	d.bits >>= n
	d.count -= n
	return v, nil
}

// stored copies a block that is not compressed.
func (d *Decoder) stored(dst []byte, out int) (int, error) {
	d.in -= int(d.count / 8)
	d.bits, d.count = 0, 0
	if len(d.src)-d.in < 4 {
		return out, io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint16(d.src[d.in:])
	if n != ^binary.LittleEndian.Uint16(d.src[d.in+2:]) {
		return out, ErrCorrupt
	}
	d.in += 4
	part := d.src[d.in:min(d.in+int(n), len(d.src))]
	copied := copy(dst[out:], part)
	d.in += copied
	switch out += copied; {
	case copied == int(n):
		return out, nil
	case copied < len(part):
		return out, ErrFull
	}
	return out, io.ErrUnexpectedEOF
}
