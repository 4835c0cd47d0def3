package repo

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"

	"github.com/imasign/imasign-build/internal/input"
)

const (
	// maxWindow bounds what a decompressor may hold: what xz -9 and zstd --ultra -22
	// need.
	maxWindow = 128 << 20
	// maxMetadata bounds one file of metadata, unpacked. The largest there are
	// (filelists of a whole distribution) have about 1 GB.
	maxMetadata = 8 << 30
)

var (
	errZchunk   = errors.New("zchunk is not read")
	errTooLarge = fmt.Errorf("it has over %d bytes", int64(maxMetadata))
)

// unpacked is a file of metadata, decompressed.
type unpacked struct {
	io.Reader

	file *os.File
	stop func()
}

func (u *unpacked) Close() error {
	u.stop()
	return u.file.Close()
}

// openMetadata opens a file of metadata and finds its compression by its content.
func openMetadata(path string) (*unpacked, error) {
	f, err := input.Regular(path)
	if errors.Is(err, input.ErrNotRegular) {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if err != nil {
		return nil, err
	}
	u := &unpacked{file: f, stop: func() {}}
	if err := u.decompress(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %w", path, ErrMetadata, err), f.Close())
	}
	u.Reader = &limited{u.Reader, maxMetadata}
	return u, nil
}

func (u *unpacked) decompress() (err error) {
	in := bufio.NewReaderSize(u.file, 64<<10)
	magic, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch has := func(text string) bool { return bytes.HasPrefix(magic, []byte(text)) }; {
	case has("\x1f\x8b"):
		u.Reader, err = gzip.NewReader(in)
		return err
	case has("BZh"):
		u.Reader = bzip2.NewReader(in)
		return nil
	case has("\xfd7zXZ\x00"):
		u.Reader, err = xz.NewReader(in, maxWindow)
		return err
	case has("\x28\xb5\x2f\xfd"):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		u.Reader, u.stop = d, d.Close
		return nil
	case has("\x00ZCK1"), has("\x00ZHR1"):
		return errZchunk
	}
	u.Reader = in
	return nil
}

// limited fails, rather than ends, where there is more than may be.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// compressionOf returns createrepo_c's word for the compression that a name tells.
func compressionOf(name string) string {
	switch path.Ext(name) {
	case ".gz":
		return "gz"
	case ".bz2":
		return "bz2"
	case ".xz":
		return "xz"
	case ".zst":
		return "zstd"
	}
	return ""
}
