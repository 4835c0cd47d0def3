package tarball

import (
	"bytes"
	"fmt"
	"strconv"
)

// blockSize is what everything in a tar archive is a multiple of.
const blockSize = 512

// Type flags, from POSIX.1-2017 pax and from GNU tar's tar.h.
const (
	typeLink       = '1'
	typeSymlink    = '2'
	typeFIFO       = '6'
	typePax        = 'x'
	typePaxSolaris = 'X'
	typePaxGlobal  = 'g'
	typeLongName   = 'L'
	typeLongLink   = 'K'
	typeACLSolaris = 'A'
	typeSparse     = 'S'
	typeMulti      = 'M'
	typeVolume     = 'V'
	typeNames      = 'N'
	typeDump       = 'D'
)

// magicGNU stands where ustar has "ustar\x0000".
const magicGNU = "ustar  \x00"

// block is a header block. Only what decides about the archive's structure is
// read here; the rest is archive/tar's.
type block [blockSize]byte

var zeroBlock block

func (b *block) isZero() bool { return *b == zeroBlock }

func (b *block) typeflag() byte { return b[156] }

func (b *block) isGNU() bool { return string(b[257:265]) == magicGNU }

// checksumHolds accepts the sum over unsigned bytes, as POSIX has it, and over
// signed ones, as old programs did.
func (b *block) checksumHolds() bool {
	stored, err := number(b[148:156])
	if err != nil {
		return false
	}
	unsigned, signed := b.checksums()
	return stored == unsigned || stored == signed
}

func (b *block) checksums() (unsigned, signed int64) {
	for i, c := range b {
		if 148 <= i && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return unsigned, signed
}

// size is the size field: bytes of content in the archive.
func (b *block) size() (int64, error) {
	n, err := number(b[124:136])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: size field %q", ErrFormat, b[124:136])
	}
	return n, nil
}

// resize sets the size field, which ends in a zero or, as bsdtar has it, a space,
// and the checksum anew.
func (b *block) resize(size int64) {
	if b[135] != ' ' {
		b[135] = 0
	}
	copy(b[124:135], fmt.Sprintf("%011o", size))
	sum, _ := b.checksums()
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// number reads a numeric field: octal digits between spaces and zeros, or, with
// the first bit set, a two's complement big-endian number (GNU's base-256).
func number(field []byte) (int64, error) {
	if field[0]&0x80 != 0 {
		return base256(field)
	}
	field = bytes.Trim(field, " \x00")
	field, _, _ = bytes.Cut(field, []byte{0})
	if len(field) == 0 {
		return 0, nil
	}
	return strconv.ParseInt(string(field), 8, 64)
}

func base256(field []byte) (int64, error) {
	var sign byte
	if field[0]&0x40 != 0 {
		sign = 0xff
	}
	last := len(field) - 8
	for i, c := range field[:last] {
		if i == 0 {
			c = c&0x7f | sign&0x80
		}
		if c != sign {
			return 0, strconv.ErrRange
		}
	}
	var n uint64
	for _, c := range field[last:] {
		n = n<<8 | uint64(c)
	}
	if int64(n) < 0 != (sign == 0xff) {
		return 0, strconv.ErrRange
	}
	return int64(n), nil
}

// padded rounds up to whole blocks.
func padded(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }
