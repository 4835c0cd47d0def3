package erofs

import (
	"bytes"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// Algorithms of extents. Two are for uncompressed data, and are not in the format.
const (
	algLZ4 = iota
	algLZMA
	algDeflate
	algZstd
	algShifted
	algInterlaced
)

func algorithmNames() []string { return []string{"lz4", "lzma", "deflate", "zstd"} }

// decode decodes an extent into dst, which is as large as the extent.
func (f *FileSystem) decode(dst []byte, e *extent, data *window) error {
	if e.algorithm == algShifted {
		return f.readAt(dst, e.at)
	}
	src, err := data.read(e.at, e.size)
	if err != nil {
		return err
	}
	if e.algorithm == algInterlaced {
		return f.interlaced(dst, src, e)
	}
	src = bytes.TrimLeft(src, "\x00") // zero padding; no algorithm's data begins with zero
	if len(src) == 0 {
		return filesystem.Corrupt("compressed data of zeros")
	}
	switch e.algorithm {
	case algLZ4:
		err = decodeLZ4(dst, src, e.partial || f.incompat&incompatZeroPadding == 0)
	case algLZMA:
		err = f.codecs.lzma(dst, src)
	case algDeflate:
		err = f.codecs.deflate(dst, src)
	case algZstd:
		err = f.codecs.zstd(dst, src, e.partial)
	}
	if err != nil {
		return filesystem.Corrupt("%s data at %d: %w", algorithmNames()[e.algorithm], e.at, err)
	}
	return nil
}

// interlaced copies data whose place in the block is the same as in the file, and which goes
// on at the begin of the block.
func (f *FileSystem) interlaced(dst, src []byte, e *extent) error {
	skip := e.from & (f.blockSize() - 1)
	if int64(len(src)) != f.blockSize() && skip+int64(len(dst)) > int64(len(src)) {
		return filesystem.Corrupt("%d interlaced bytes", len(src))
	}
	n := copy(dst, src[skip:])
	copy(dst[n:], src)
	return nil
}
