package compress

import (
	"bufio"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// reader decompresses in. stop may be nil only with an error.
type reader func(in *bufio.Reader, p Profile) (content io.Reader, stop func(), err error)

func nothing() {}

func readGzip(in *bufio.Reader, p Profile) (io.Reader, func(), error) {
	if !p.readAhead {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		return p.members(z, in), nothing, nil
	}
	z, err := pgzip.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	return p.members(z, in), func() { _ = z.Close() }, nil
}

func readZstd(in *bufio.Reader, p Profile) (io.Reader, func(), error) {
	cores := 1
	if p.readAhead {
		cores = 0 // all
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderConcurrency(cores))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

func readXZ(in *bufio.Reader, _ Profile) (io.Reader, func(), error) {
	z, err := xz.NewReader(in, MaxWindow)
	return z, nothing, err
}

func readBzip2(in *bufio.Reader, p Profile) (io.Reader, func(), error) {
	if !p.zeroEnd {
		return bzip2.NewReader(in), nothing, nil
	}
	counted := &input{Reader: in, spare: 2} // it looks for two bytes at once
	return &zeroEnd{bzip2.NewReader(counted), counted, isBzip2End}, nothing, nil
}

func readLZ4(in *bufio.Reader, p Profile) (io.Reader, func(), error) {
	if !p.zeroEnd {
		return lz4.NewReader(in), nothing, nil
	}
	counted := &input{Reader: in}
	return &zeroEnd{lz4.NewReader(counted), counted, isLZ4End}, nothing, nil
}

func readLZMA(in *bufio.Reader, _ Profile) (io.Reader, func(), error) {
	head, err := in.Peek(lzma.HeaderLen)
	if err != nil {
		return nil, nil, err
	}
	if window := binary.LittleEndian.Uint32(head[1:]); window > MaxWindow {
		return nil, nil, fmt.Errorf("%w: lzma with a window of %d bytes", ErrMemory, window)
	}
	z, err := lzma.NewReader(in)
	return z, nothing, err
}

// classifying turns a decoder's errors into the errors that callers distinguish.
type classifying struct{ content io.Reader }

func (c *classifying) Read(b []byte) (int, error) {
	n, err := c.content.Read(b)
	return n, classified(err)
}

var errBehindZstd = errors.New("the last frame is followed by bytes that are not a frame, which no zstd decoder accepts")

func classified(err error) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, xz.ErrMemlimit):
		return fmt.Errorf("%w: %w", ErrMemory, err)
	case errors.Is(err, xz.ErrBuf):
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	case errors.Is(err, zstd.ErrMagicMismatch): // the first frame was recognised
		return errBehindZstd
	}
	return err
}
