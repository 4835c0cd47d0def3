package tarball

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	bzip2w "github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	xzr "github.com/xi2/xz"
)

// Compression is how an archive is compressed as a whole.
type Compression string

// The compressions that are read and written.
const (
	None  Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	XZ    Compression = "xz"
	Bzip2 Compression = "bzip2"
	LZ4   Compression = "lz4"
)

// maxWindow is how much memory a compressed input may ask for to be decompressed:
// what `xz -9` and `zstd -19 --long` need, and what zstd's own program allows.
const maxWindow = 128 << 20

// ParseCompression refuses any other word.
func ParseCompression(word string) (Compression, error) {
	switch c := Compression(word); c {
	case None, Gzip, Zstd, XZ, Bzip2, LZ4:
		return c, nil
	}
	return "", fmt.Errorf("%w %q: it is none, gzip, zstd, xz, bzip2 or lz4", ErrCompression, word)
}

// CompressionOf tells by a file's name how it is to be compressed; ok is false
// for a name that says nothing.
func CompressionOf(name string) (c Compression, ok bool) {
	for _, known := range []struct {
		suffixes string
		c        Compression
	}{
		{".tar", None}, {".tar.gz .tgz", Gzip}, {".tar.zst .tzst .tar.zstd", Zstd}, {".tar.xz .txz", XZ},
		{".tar.bz2 .tbz .tbz2", Bzip2}, {".tar.lz4 .tlz4", LZ4},
	} {
		for _, suffix := range strings.Fields(known.suffixes) {
			if strings.HasSuffix(strings.ToLower(name), suffix) {
				return known.c, true
			}
		}
	}
	return None, false
}

// recognise tells by the first bytes how they are compressed.
func recognise(head []byte) Compression {
	for magic, c := range map[string]Compression{
		"\x1f\x8b": Gzip, "\x28\xb5\x2f\xfd": Zstd, "\xfd7zXZ\x00": XZ, "\x04\x22\x4d\x18": LZ4,
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return c
		}
	}
	if level, found := bytes.CutPrefix(head, []byte("BZh")); found && len(level) > 0 && '1' <= level[0] && level[0] <= '9' {
		for _, magic := range []string{"1AY&SY", "\x17\x72\x45\x38\x50\x90"} { // of a block, of the end
			if next := level[1:min(len(level), 7)]; bytes.HasPrefix([]byte(magic), next) {
				return Bzip2
			}
		}
	}
	return None
}

// decompress returns the content of r and what ends it. The content ends with an
// error where more than zeros stands behind the compressed data.
func decompress(r *bufio.Reader, c Compression) (content io.Reader, stop func(), err error) {
	stop = func() {}
	in := &input{Reader: r}
	switch c {
	case Gzip:
		content, stop, err = newGzip(r)
	case Zstd:
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(0)); err == nil {
			content, stop = z, z.Close
		}
	case XZ:
		content, err = xzr.NewReader(r, maxWindow)
	case Bzip2:
		in.spare = 2 // it looks for two bytes at once
		content = &zeroEnd{bzip2.NewReader(in), in, isBzip2End}
	case LZ4:
		content = &zeroEnd{lz4.NewReader(in), in, isLZ4End}
	default:
		return r, stop, nil
	}
	if err != nil {
		return nil, nil, decompressError(c, err)
	}
	return content, stop, nil
}

func decompressError(c Compression, err error) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, xzr.ErrMemlimit):
		return fmt.Errorf("%s: %w: decompressing takes more than %d MiB of memory", c, ErrTooLarge, maxWindow>>20)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: %w", c, ErrTruncated)
	case errors.Is(err, zstd.ErrMagicMismatch):
		return fmt.Errorf("%w zstd: what stands behind the last frame is none, and no zstd decoder takes it", ErrCompression)
	}
	return fmt.Errorf("%w %s: %w", ErrCompression, c, err)
}

// Compress returns a writer to w that is complete once it is closed; w stays
// open. After an error, and when ctx is cancelled, it is not to be closed: that
// would compress what nobody wants any more. The output depends on the input alone, not on jobs, the number of
// goroutines that work on it; zero stands for one a core.
func Compress(ctx context.Context, w io.Writer, c Compression, jobs int) (io.WriteCloser, error) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	switch c {
	case None:
		return nopCloser{w}, nil
	case Gzip:
		z := pgzip.NewWriter(w)
		return z, z.SetConcurrency(1<<20, max(jobs, 2))
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(max(jobs, 2)))
	case LZ4:
		z := lz4.NewWriter(w)
		return z, z.Apply(lz4.ConcurrencyOption(jobs), lz4.ChecksumOption(true))
	case XZ:
		return newChunks(ctx, w, 16<<20, jobs, encodeXZ), nil
	case Bzip2:
		return newChunks(ctx, w, 8*900_000, jobs, encodeBzip2), nil
	}
	return nil, fmt.Errorf("%w %q", ErrCompression, c)
}

func encodeXZ(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }

func encodeBzip2(w io.Writer) (io.WriteCloser, error) {
	return bzip2w.NewWriter(w, &bzip2w.WriterConfig{Level: bzip2w.BestCompression})
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
