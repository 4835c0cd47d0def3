package erofs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// maxWindow is the largest window of Zstandard data, in bytes. That of the kernel is 1 MiB.
const maxWindow = 8 << 20

// codecs keep decoders for the next extents.
type codecs struct {
	inflaters, zstds sync.Pool
}

// deflate decodes raw DEFLATE data until dst is full.
func (c *codecs) deflate(dst, src []byte) error {
	r, ok := c.inflaters.Get().(io.Reader)
	if !ok {
		r = flate.NewReader(nil)
	}
	defer c.inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
		return err
	}
	_, err := io.ReadFull(r, dst)
	return noEOF(err)
}

var errLength = errors.New("another length than stated")

// zstd decodes Zstandard data, which has more to give if it is partial.
func (c *codecs) zstd(dst, src []byte, partial bool) error {
	d, ok := c.zstds.Get().(*zstd.Decoder)
	if !ok {
		var err error
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxDecoded), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
	}
	defer c.zstds.Put(d)
	if !partial {
		got, err := d.DecodeAll(src, dst[:0:len(dst)])
		if err == nil && len(got) != len(dst) {
			err = errLength
		}
		return err
	}
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return err
	}
	_, err := io.ReadFull(d, dst)
	return noEOF(err)
}

// lzma decodes MicroLZMA data: LZMA whose first byte, which is always zero, is the
// complement of the properties.
func (c *codecs) lzma(dst, src []byte, partial bool) error {
	header := make([]byte, 14)
	size := max(lzma.MinDictCap, len(dst))
	header[0] = ^src[0]
	binary.LittleEndian.PutUint32(header[1:], uint32(size))
	binary.LittleEndian.PutUint64(header[5:], uint64(len(dst)))
	if partial {
		binary.LittleEndian.PutUint64(header[5:], math.MaxUint64)
	}
	r, err := lzma.ReaderConfig{DictCap: size}.NewReader(io.MultiReader(bytes.NewReader(header), bytes.NewReader(src[1:])))
	if err == nil {
		_, err = io.ReadFull(r, dst)
	}
	return noEOF(err)
}
