package tarball

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/tree"
)

// load makes the decompressed input readable at any offset.
func (a *Archive) load(ctx context.Context, in io.Reader) error {
	if f, ok := in.(*os.File); ok {
		done, err := a.loadFile(f)
		if err != nil || done {
			return err
		}
	}
	if s, ok := in.(*io.SectionReader); ok && a.loadSection(s) {
		return nil
	}
	buf := bufio.NewReaderSize(in, 1<<20)
	head, err := buf.Peek(blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a.compression = compress.Archives().Recognise(head); a.compression != compress.None && len(head) == blockSize && (*block)(head).checksumHolds() {
		return fmt.Errorf("%w: it begins as a tar archive does and as %s does", ErrAmbiguous, a.compression)
	}
	content, stop, err := compress.Archives().Reader(buf, a.compression)
	if err != nil {
		return decompressError(a.compression, err)
	}
	defer stop()
	return a.toSpool(ctx, content)
}

// loadFile uses an uncompressed regular file in place, from its current offset. done is
// false for other files.
func (a *Archive) loadFile(f *os.File) (done bool, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return false, err
	}
	head := make([]byte, compress.HeadSize)
	n, err := f.ReadAt(head, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if compress.Archives().Recognise(head[:n]) != compress.None {
		return false, nil
	}
	a.compression, a.source = compress.None, f
	if a.stamp, err = tree.StampOf(f); err != nil {
		return false, err
	}
	a.size = max(a.stamp.Size-start, 0)
	a.file = io.NewSectionReader(f, start, a.size)
	return true, nil
}

// loadSection uses an uncompressed part of a file in place, such as a layer inside an
// archive of an image. The caller checks that it does not change. done is false if it is
// compressed.
func (a *Archive) loadSection(s *io.SectionReader) (done bool) {
	head := make([]byte, compress.HeadSize)
	n, _ := s.ReadAt(head, 0) // reading the archive returns the error again
	if compress.Archives().Recognise(head[:n]) != compress.None {
		return false
	}
	a.compression, a.file, a.size = compress.None, s, s.Size()
	return true
}

// toSpool decompresses into an unnamed file, which disappears with the process, however the
// process ends.
func (a *Archive) toSpool(ctx context.Context, content io.Reader) (err error) {
	if a.spool, err = input.Spool(a.opts.SpoolDir); err != nil {
		return fmt.Errorf("%w: %w", ErrSpool, err)
	}
	for buf := make([]byte, 1<<20); ; {
		n, err := content.Read(buf)
		if a.size += int64(n); a.size > a.opts.UnpackLimit {
			return fmt.Errorf("decompressed: %w (%d bytes)", ErrUnpackLimit, a.opts.UnpackLimit)
		}
		if _, err := a.spool.Write(buf[:n]); err != nil {
			return fmt.Errorf("%w: %w", ErrSpool, err)
		}
		if errors.Is(err, io.EOF) {
			a.file = a.spool
			return nil
		}
		if err != nil && a.compression != compress.None {
			err = decompressError(a.compression, err)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// decompressError turns an error of a decoder into one of this package.
func decompressError(c compress.Format, err error) error {
	switch {
	case errors.Is(err, compress.ErrMemory):
		return fmt.Errorf("%s: %w: decompressing needs more than %d MiB of memory", c, ErrTooLarge, compress.MaxWindow>>20)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: %w", c, ErrTruncated)
	}
	return fmt.Errorf("%w %s: %w", ErrCompression, c, quote.Plain(err))
}
