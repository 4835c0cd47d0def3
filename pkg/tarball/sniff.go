package tarball

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/internal/compress"
)

// IsArchive reports whether r is a tar archive, compressed or not: its first block is a
// header or consists of zeros.
//
// It returns an error for input that programs read differently: a header that also begins
// a compressed stream ([ErrFormat]), and an archive after a skippable frame of zstd
// ([ErrCompression]). A compressed stream that cannot be decompressed is an error too
// ([ErrCompression], [ErrTooLarge] or [ErrTruncated]).
func IsArchive(r io.ReaderAt) (bool, error) {
	head := make([]byte, blockSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	head = head[:n]
	c := compress.Archives().Recognise(head)
	skippable := n >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18"))
	if skippable {
		c = compress.Zstd
	}
	plain := isHeader(head)
	if c == compress.None {
		return plain, nil
	}
	if plain {
		return false, fmt.Errorf("%w: it begins both as a tar archive does and as %s does", ErrFormat, c)
	}
	unpacked, err := unpackedHead(r, c)
	if err != nil {
		return false, err
	}
	packed := isHeader(unpacked)
	if packed && skippable {
		return false, fmt.Errorf("%w zstd: the stream begins with a skippable frame, which not every program skips", ErrCompression)
	}
	return packed, nil
}

// unpackedHead returns the first block of the decompressed content of r, or less if the
// content is shorter. Content that cannot be decompressed is an error, because another
// program may be able to decompress it.
func unpackedHead(r io.ReaderAt, c compress.Format) ([]byte, error) {
	content, stop, err := compress.Archives().Reader(bufio.NewReader(io.NewSectionReader(r, 0, 1<<62)), c)
	if err != nil {
		return nil, decompressError(c, err)
	}
	defer stop()
	head := make([]byte, blockSize)
	n, err := io.ReadFull(content, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, decompressError(c, err)
	}
	return head[:n], nil
}

// isHeader reports whether this package or archive/tar accepts head as a first block.
func isHeader(head []byte) bool {
	if len(head) < blockSize {
		return false
	}
	if b := (*block)(head); b.isZero() || b.checksumHolds() {
		return true
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return !errors.Is(err, tar.ErrHeader)
}
