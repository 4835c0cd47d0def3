package tarball

import (
	"bytes"
	"fmt"
	"strconv"
)

// blockSize is the size of a block of a tar archive, in bytes.
const blockSize = 512

// Type flags, from POSIX.1-2017 pax and from GNU tar's tar.h.
const (
	typeRegular    = '0'
	typeRegularV7  = 0
	typeLink       = '1'
	typeSymlink    = '2'
	typeDirectory  = '5'
	typeFIFO       = '6'
	typeContiguous = '7'
	typePax        = 'x'
	typePaxSolaris = 'X'
	typePaxGlobal  = 'g'
	typeLongName   = 'L'
	typeLongLink   = 'K'
	typeSparse     = 'S'
	typeMulti      = 'M'
	typeVolume     = 'V'
	typeDump       = 'D'
)

// Magic numbers. After ustar's comes the version "00". GNU's includes the version field.
const (
	magicUSTAR = "ustar\x00"
	magicGNU   = "ustar  \x00"
)

// block is a header block. This package reads only the fields that determine the archive's
// structure. archive/tar reads the others.
type block [blockSize]byte

var zeroBlock block

func (b *block) isZero() bool { return *b == zeroBlock }

func (b *block) typeflag() byte { return b[156] }

func (b *block) isGNU() bool { return string(b[257:265]) == magicGNU }

func (b *block) isUSTAR() bool { return string(b[257:263]) == magicUSTAR }

// checksumHolds reports whether the checksum is right. It accepts the sum of unsigned bytes,
// as in POSIX, and of signed bytes, as in old programs.
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

// size returns the size field: the number of content bytes in the archive.
func (b *block) size() (int64, error) {
	n, err := number(b[124:136])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: size field %q", ErrFormat, b[124:136])
	}
	return n, nil
}

// resize sets the size field and the checksum. The field ends in a zero byte or, if bsdtar
// wrote it, in a space.
func (b *block) resize(size int64) {
	if b[135] != ' ' {
		b[135] = 0
	}
	copy(b[124:135], fmt.Sprintf("%011o", size))
	b.sum()
}

// sum sets the checksum.
func (b *block) sum() {
	sum, _ := b.checksums()
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// number reads a numeric field in the forms that all programs read in the same way: octal
// digits with spaces before and spaces or zero bytes after them, only zero bytes, or a
// two's complement big-endian number with the first bit set (GNU's base-256). Programs
// differ about signs, blank fields, and anything after the end of the number.
func number(field []byte) (int64, error) {
	switch {
	case field[0] == 0x80 || field[0] == 0xff:
		return base256(field)
	case isZero(field):
		return 0, nil
	}
	digits := bytes.TrimLeft(bytes.TrimRight(field, " \x00"), " ")
	for _, c := range digits {
		if c < '0' || c > '7' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.ParseInt(string(digits), 8, 64)
}

// base256 reads a GNU number. It begins with 0x80, or with 0xff if it is negative. Other
// first bytes are refused, because bsdtar counts their bits too.
func base256(field []byte) (int64, error) {
	sign := field[0] & 0x7f
	if sign != 0 {
		sign = 0xff
	}
	last := max(len(field)-8, 1)
	for _, c := range field[1:last] {
		if c != sign {
			return 0, strconv.ErrRange
		}
	}
	n := uint64(int64(int8(sign)))
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
