package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// tail writes what follows the last entry. If that is only zeros that fill up a record, tail
// writes as many zeros as fill up the record of the output. An archive that does not end in
// two zero blocks gets them. Anything else is copied.
func (r *rewriter) tail(ctx context.Context) error {
	if missing := r.end + 2*blockSize - r.size; missing > 0 {
		if err := r.copy(ctx, r.size); err != nil {
			return err
		}
		_, err := io.CopyN(r.out, zeroReader{}, missing)
		return err
	}
	if r.grown%recordSize == 0 || r.size%recordSize != 0 || !r.fillsRecord() {
		return r.copy(ctx, r.size)
	}
	zeros := r.size - r.end - (r.grown%recordSize+recordSize)%recordSize
	if zeros < 2*blockSize {
		zeros += recordSize
	}
	_, err := io.CopyN(r.out, zeroReader{}, zeros)
	return err
}

// fillsRecord reports whether the archive ends in the two required zero blocks and less than
// a record of further zero blocks.
func (r *rewriter) fillsRecord() bool {
	const least, most = 2 * blockSize, 2*blockSize + recordSize
	zeros := r.size - r.end
	if zeros < least || zeros >= most {
		return false
	}
	tail := make([]byte, zeros)
	n, _ := r.file.ReadAt(tail, r.end)
	return n == len(tail) && isZero(tail)
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// trailing reports whether anything but zeros follows the end of the archive.
func (a *Archive) trailing(ctx context.Context) (bool, error) {
	buf := make([]byte, 64<<10)
	for at := a.end; at < a.size; {
		n, err := a.file.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if !isZero(buf[:n]) {
			return true, nil
		}
		if at += int64(n); n == 0 {
			return false, fmt.Errorf("%w: it ends at byte %d now", ErrTruncated, at)
		}
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
	}
	return false, nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
