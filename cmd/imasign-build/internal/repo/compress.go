package repo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
)

// maxMetadata limits the unpacked size of a metadata file. The largest ones (filelists of a
// whole distribution) have about 1 GB.
const maxMetadata = 8 << 30

var (
	errZchunk   = errors.New("this program does not read zchunk")
	errTooLarge = fmt.Errorf("it has more than %d bytes", int64(maxMetadata))
)

// unpacked reads a metadata file and decompresses it.
type unpacked struct {
	io.Reader

	file *os.File
	stop func()
}

func (u *unpacked) Close() error {
	u.stop()
	return u.file.Close()
}

// openMetadata opens a metadata file and recognises its compression by its content.
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
	if head, _ := in.Peek(5); string(head) == "\x00ZCK1" || string(head) == "\x00ZHR1" {
		return errZchunk
	}
	_, u.Reader, u.stop, err = compress.Metadata().Open(in)
	return err
}

// limited fails, instead of ending, after left bytes.
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

// compressionOf returns createrepo_c's word for the compression that a file name tells, or
// "".
func compressionOf(name string) string {
	switch f, _ := compress.Metadata().ByName(name); f {
	case compress.Gzip:
		return "gz"
	case compress.Bzip2:
		return "bz2"
	case compress.XZ, compress.Zstd:
		return string(f)
	}
	return ""
}
