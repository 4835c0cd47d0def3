// Package compress has the table of compression formats: the bytes that each begins
// with, the suffix of its files, how it is read and how it is written. A [Profile] says
// which formats a kind of file accepts, and how they are written.
package compress

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Format is a compression format, named by the word that users write.
type Format string

// The formats. None is content that is not compressed.
const (
	None  Format = "none"
	Gzip  Format = "gzip"
	Zstd  Format = "zstd"
	XZ    Format = "xz"
	Bzip2 Format = "bzip2"
	LZ4   Format = "lz4"
	LZMA  Format = "lzma"
)

// HeadSize is how many bytes at the beginning identify the format.
const HeadSize = lzma.HeaderLen

// MaxWindow is how much memory, in bytes, decompressing may take: as much as xz -9,
// zstd --ultra -22 and zstd -19 --long need, and as the zstd program allows.
const MaxWindow = 128 << 20

var (
	// ErrUnknown means a format that does not exist or that the profile lacks.
	ErrUnknown = errors.New("no such compression")
	// ErrMemory means compressed data that asks for more than MaxWindow.
	ErrMemory = errors.New("decompressing takes too much memory")
)

// row describes one format.
type row struct {
	format Format
	begins func(head []byte) bool
	suffix string   // of a file's name
	short  []string // suffixes of an archive's name that stand for ".tar" and suffix
	read   reader
	// write uses several cores and gives the same bytes with any number of them.
	write func(ctx context.Context, w io.Writer, jobs int) (io.WriteCloser, error)
	// kernel writes the subset of the format that the kernel's lib/decompress_*.c reads.
	kernel func(w io.Writer) (io.WriteCloser, error)
}

// table has no row for None. LZMA is last because its files begin with no magic number.
func table() []row {
	return []row{
		{Gzip, magic(gzipMagic), ".gz", []string{".tgz"}, readGzip, writeGzip, kernelGzip},
		{Zstd, magic("\x28\xb5\x2f\xfd"), ".zst", []string{".tzst", ".tar.zstd"}, readZstd, writeZstd, kernelZstd},
		{XZ, magic("\xfd7zXZ\x00"), ".xz", []string{".txz"}, readXZ, writeXZ, kernelXZ},
		{Bzip2, isBzip2, ".bz2", []string{".tbz", ".tbz2"}, readBzip2, writeBzip2, encodeBzip2},
		{LZ4, magic("\x04\x22\x4d\x18"), ".lz4", []string{".tlz4"}, readLZ4, writeLZ4, kernelLZ4},
		{LZMA, isLZMA, ".lzma", nil, readLZMA, nil, nil},
	}
}

const gzipMagic = "\x1f\x8b"

func magic(text string) func([]byte) bool {
	return func(head []byte) bool { return bytes.HasPrefix(head, []byte(text)) }
}

// isBzip2 also compares, as far as head reaches, the magic of a block or of the end,
// because a text may begin with "BZh" and a digit.
func isBzip2(head []byte) bool {
	level, found := bytes.CutPrefix(head, []byte("BZh"))
	if !found || len(level) == 0 || level[0] < '1' || level[0] > '9' {
		return false
	}
	next := string(level[1:min(len(level), 7)])
	return next == "1AY&SY"[:len(next)] || next == "\x17\x72\x45\x38\x50\x90"[:len(next)]
}

// isLZMA reports whether head is a header of an .lzma file that its tools write.
func isLZMA(head []byte) bool {
	return len(head) >= lzma.HeaderLen && head[0] < 225 && lzma.ValidHeader(head[:lzma.HeaderLen])
}
