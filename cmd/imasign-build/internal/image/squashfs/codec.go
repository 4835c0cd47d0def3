package squashfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/inflate"
)

// decoder decodes blocks, one at a time, and keeps its buffers for the next one.
type decoder interface {
	// decode decodes src to dst and returns how many bytes it is. More than dst holds is
	// an error.
	decode(dst, src []byte) (int, error)
}

// codec is a compressor that an image may use for all of its blocks.
type codec struct {
	name string                      // as mksquashfs -comp takes it
	open func(blockSize int) decoder // makes a decoder
}

const compressionLZ4 = 5

// codecOf returns the codec of a number in the superblock.
func codecOf(number uint16) (codec, error) {
	switch number {
	case 1:
		return codec{"gzip", func(int) decoder { return new(gzipDecoder) }}, nil
	case 2:
		return codec{"lzma", newLZMADecoder}, nil
	case 3:
		return codec{}, filesystem.Unsupported("compression by lzo")
	case 4:
		return codec{"xz", newXZDecoder}, nil
	case compressionLZ4:
		return codec{"lz4", func(int) decoder { return lz4Decoder{} }}, nil
	case 6:
		return codec{"zstd", newZstdDecoder}, nil
	}
	return codec{}, filesystem.Unsupported("compression by number %d", number)
}

// readAll fills dst from a decompressing reader that has to end with it, or before. The
// end is where readers compare checksums.
func readAll(r io.Reader, dst []byte) (int, error) {
	n, err := io.ReadFull(r, dst)
	if err == nil {
		var more [1]byte
		if k, err := r.Read(more[:]); k > 0 || err == nil {
			return 0, filesystem.Corrupt("more than %d bytes in a block", len(dst))
		} else if err != io.EOF {
			return 0, broken(err)
		}
		return n, nil
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return n, nil
	}
	return 0, broken(err)
}

// broken returns the error of a decoder, which had its whole input in memory.
func broken(err error) error { return fmt.Errorf("%w: %w", filesystem.ErrCorrupt, err) }

// gzipDecoder decodes zlib streams (RFC 1950), in spite of its name.
type gzipDecoder struct{ inflate.Decoder }

func (d *gzipDecoder) decode(dst, src []byte) (int, error) {
	const header, deflate, dictionary, trailer = 2, 8, 0x20, 4
	if len(src) < header+trailer || src[0]&0x0F != deflate || src[0]>>4 > 7 || src[1]&dictionary != 0 || binary.BigEndian.Uint16(src)%31 != 0 {
		return 0, filesystem.Corrupt("not a zlib stream")
	}
	n, used, err := d.Decode(dst, src[header:len(src)-trailer])
	switch {
	case errors.Is(err, inflate.ErrFull):
		return 0, filesystem.Corrupt("more than %d bytes in a block", len(dst))
	case err != nil:
		return 0, broken(err)
	case adler32.Checksum(dst[:n]) != binary.BigEndian.Uint32(src[header+used:]):
		return 0, filesystem.Corrupt("the checksum does not match")
	}
	return n, nil
}

// lzmaDecoder decodes LZMA1, which mksquashfs has written since before the kernel had xz.
// No released kernel mounts it.
type lzmaDecoder struct{ lzma.ReaderConfig }

func newLZMADecoder(blockSize int) decoder {
	return lzmaDecoder{lzma.ReaderConfig{DictCap: max(blockSize, metadataSize)}}
}

func (d lzmaDecoder) decode(dst, src []byte) (int, error) {
	r, err := d.NewReader(bytes.NewReader(src))
	if err != nil {
		return 0, broken(err)
	}
	return readAll(r, dst)
}

// xzDecoder decodes xz streams with the filters that mksquashfs -Xbcj has.
type xzDecoder struct {
	in bytes.Reader
	z  *xz.Reader
}

func newXZDecoder(blockSize int) decoder {
	z, _ := xz.NewReader(nil, uint32(max(blockSize, metadataSize))) // no input, no error
	return &xzDecoder{z: z}
}

func (d *xzDecoder) decode(dst, src []byte) (int, error) {
	d.in.Reset(src)
	if err := d.z.Reset(&d.in); err != nil {
		return 0, broken(err)
	}
	d.z.Multistream(false)
	n, err := readAll(d.z, dst)
	if errors.Is(err, xz.ErrOptions) {
		return 0, filesystem.Unsupported("a filter that is not for x86, powerpc, ia64, arm, armthumb or sparc")
	}
	return n, err
}

type lz4Decoder struct{}

func (lz4Decoder) decode(dst, src []byte) (int, error) {
	n, err := lz4.UncompressBlock(src, dst)
	if err != nil {
		return 0, broken(err)
	}
	return n, nil
}

type zstdDecoder struct {
	z   *zstd.Decoder
	out []byte
}

// overrun is how many bytes behind its output zstd.Decoder wants for its fast copies.
const overrun = 16

func newZstdDecoder(blockSize int) decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic(err) // the options are constant
	}
	return zstdDecoder{z, make([]byte, 0, max(blockSize, metadataSize)+overrun)}
}

func (d zstdDecoder) decode(dst, src []byte) (int, error) {
	out, err := d.z.DecodeAll(src, d.out)
	switch {
	case err != nil:
		return 0, broken(err)
	case len(out) > len(dst):
		return 0, filesystem.Corrupt("more than %d bytes in a block", len(dst))
	}
	return copy(dst, out), nil
}
