package erofs

import (
	"errors"
	"math"

	block "github.com/pierrec/lz4/v4"
)

var errLZ4 = errors.New("the data is damaged")

// decodeLZ4 decodes an LZ4 block into dst, and fills it. If the data is partial, the block
// may go on, or something else may follow.
func decodeLZ4(dst, src []byte, partial bool) error {
	if partial {
		d := lz4Block{dst: dst, src: src}
		return d.decode()
	}
	n, err := block.UncompressBlock(src, dst)
	if err == nil && n != len(dst) {
		err = errLength
	}
	return err
}

// lz4Block decodes a block that may be longer than dst, which libraries refuse.
type lz4Block struct {
	dst, src []byte
	d, s     int // positions
}

func (b *lz4Block) decode() error {
	for {
		if b.s >= len(b.src) {
			return errLZ4
		}
		token := b.src[b.s]
		b.s++
		if err := b.literals(int(token >> 4)); err != nil || b.d == len(b.dst) {
			return err
		}
		if err := b.match(int(token & 15)); err != nil || b.d == len(b.dst) {
			return err
		}
	}
}

// length reads the rest of a length that does not fit into the token.
func (b *lz4Block) length(n int) (int, error) {
	if n != 15 {
		return n, nil
	}
	for b.s < len(b.src) && n < math.MaxInt32 {
		more := b.src[b.s]
		b.s++
		if n += int(more); more != 255 {
			return n, nil
		}
	}
	return 0, errLZ4
}

func (b *lz4Block) literals(n int) error {
	n, err := b.length(n)
	if n = min(n, len(b.dst)-b.d); err != nil || n > len(b.src)-b.s {
		return errLZ4
	}
	copy(b.dst[b.d:], b.src[b.s:b.s+n])
	b.d, b.s = b.d+n, b.s+n
	return nil
}

func (b *lz4Block) match(n int) error {
	if len(b.src)-b.s < 2 {
		return errLZ4
	}
	offset := int(u16(b.src, b.s))
	b.s += 2
	n, err := b.length(n)
	if err != nil || offset == 0 || offset > b.d {
		return errLZ4
	}
	n = min(n+4, len(b.dst)-b.d)
	for n > 0 { // the source grows with every copy
		m := copy(b.dst[b.d:b.d+n], b.dst[b.d-offset:b.d])
		b.d, n, offset = b.d+m, n-m, offset+m
	}
	return nil
}
