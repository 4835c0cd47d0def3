package erofs

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/inflate"
)

// maxWindow is the largest window of Zstandard data, in bytes. That of the kernel is 1 MiB.
const maxWindow = 8 << 20

// codecs keep decoders for the next extents.
type codecs struct {
	inflaters, lzmas, zstds sync.Pool
}

// deflate decodes raw DEFLATE data until dst is full.
func (c *codecs) deflate(dst, src []byte) error {
	d, ok := c.inflaters.Get().(*inflate.Decoder)
	if !ok {
		d = &inflate.Decoder{}
	}
	defer c.inflaters.Put(d)
	n, _, err := d.Decode(dst, src)
	switch {
	case n == len(dst) && errors.Is(err, inflate.ErrFull):
		return nil
	case err == nil && n < len(dst):
		return errLength
	}
	return err
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

// lzma decodes MicroLZMA data until dst is full.
func (c *codecs) lzma(dst, src []byte) error {
	d, ok := c.lzmas.Get().(*lzmaDecoder)
	if !ok {
		d = &lzmaDecoder{}
	}
	defer c.lzmas.Put(d)
	return d.decode(dst, src)
}
