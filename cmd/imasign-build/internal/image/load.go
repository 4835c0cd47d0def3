package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/tree"
)

// load opens the image's content.
func (i *Image) load(ctx context.Context, path string, stdin io.Reader, o *Options) error {
	if path == "-" {
		return i.unpack(ctx, stdin, o)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: path, Err: ErrDirectory}
	case info.Mode().Type() == fs.ModeDevice: // a block device
		return i.inPlace(path)
	}
	opened, err := input.Open(ctx, path)
	if err != nil {
		return err
	}
	if f, regular := opened.(*os.File); regular {
		head := make([]byte, compress.HeadSize)
		n, err := f.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(err, f.Close())
		}
		if compress.Images().Recognise(head[:n]) == compress.None {
			return i.use(f)
		}
	}
	return errors.Join(i.unpack(ctx, opened, o), opened.Close())
}

func (i *Image) inPlace(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return i.use(f)
}

// use reads a file without a copy.
func (i *Image) use(f *os.File) error {
	i.compression, i.file = compress.None, f
	size, err := f.Seek(0, io.SeekEnd) // the size of a block device, too
	if err != nil {
		return err
	}
	stamp, err := tree.StampOf(f)
	if err != nil {
		return err
	}
	i.size, i.stamp = size, &stamp
	return nil
}

// unpack copies the content of in, decompressed, to a temporary file.
func (i *Image) unpack(ctx context.Context, in io.Reader, o *Options) error {
	if o.Reading != nil {
		in = o.Reading(in)
	}
	format, content, stop, err := compress.Images().Open(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return err
	}
	defer stop()
	if i.compression = format; format != compress.None {
		content = &decompressed{content, format}
	}
	if i.file, err = input.Spool(""); err != nil {
		return fmt.Errorf("%w: %w", input.ErrSpool, err)
	}
	return i.spool(ctx, content, o.UnpackLimit)
}

// decompressed names the format in the errors of a decoder.
type decompressed struct {
	io.Reader

	format compress.Format
}

// Read reads decompressed content.
func (d *decompressed) Read(b []byte) (int, error) {
	n, err := d.Reader.Read(b)
	switch {
	case err == nil || err == io.EOF: //nolint:errorlint // a wrapped one is a failure
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the %s data is cut short: %w", d.format, err)
	case !errors.Is(err, compress.ErrMemory):
		err = fmt.Errorf("%w %s: %w", ErrCompression, d.format, quote.Plain(err))
	}
	return n, err
}

// spool writes content to the temporary file, with holes for zeros.
func (i *Image) spool(ctx context.Context, content io.Reader, limit int64) error {
	zeros := make([]byte, spoolBlock)
	for buf := make([]byte, spoolBlock); ; {
		n, err := io.ReadFull(content, buf)
		if i.size += int64(n); i.size > limit {
			return fmt.Errorf("%w (%d bytes)", ErrUnpackLimit, limit)
		}
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := i.file.WriteAt(buf[:n], i.size-int64(n)); err != nil {
				return fmt.Errorf("%w: %w", input.ErrSpool, err)
			}
		}
		switch {
		case errors.Is(err, io.EOF) || err == io.ErrUnexpectedEOF:
			return i.file.Truncate(i.size)
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// spoolBlock is the number of bytes that are written, or left out as a hole, at a time.
const spoolBlock = 64 << 10
