package initramfs

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// Compression is how an archive is compressed.
type Compression string

// The compressions. The kernel needs CONFIG_RD_GZIP and its like for each.
const (
	None  Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	XZ    Compression = "xz"
	Bzip2 Compression = "bzip2"
	LZ4   Compression = "lz4"
)

// CompressionOf tells by the end of a file's name (.cpio, .cpio.gz, .cpio.zst, .cpio.xz,
// .cpio.bz2, .cpio.lz4) how it is to be compressed; ok is false for any other name.
func CompressionOf(name string) (c Compression, ok bool) {
	for suffix, c := range map[string]Compression{
		".cpio": None, ".cpio.gz": Gzip, ".cpio.zst": Zstd, ".cpio.xz": XZ, ".cpio.bz2": Bzip2, ".cpio.lz4": LZ4,
	} {
		if strings.HasSuffix(name, suffix) {
			return c, true
		}
	}
	return None, false
}

// ErrCompression is an unknown compression.
var ErrCompression = errors.New("no such compression")

// Compress returns a writer to w that is complete once it is closed; w stays open. It
// makes what the kernel's decompressors read (lib/decompress_*.c), which is less than
// what the formats allow: one stream, xz with CRC32 and without a filter, lz4 in the
// legacy format (lz4 -l). That has no mark of its end: what is appended to such an
// archive needs four zero bytes before it.
func Compress(w io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopCloser{w}, nil
	case Gzip:
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	case XZ:
		return xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(w)
	case Bzip2:
		return bzip2.NewWriter(w, &bzip2.WriterConfig{Level: bzip2.BestCompression})
	case LZ4:
		z := lz4.NewWriter(w)
		return z, z.Apply(lz4.LegacyOption(true), lz4.ConcurrencyOption(1))
	}
	return nil, fmt.Errorf("%w: %q", ErrCompression, c)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
