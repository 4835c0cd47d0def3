package atomicfile

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// cloneStep is how many bytes Clone copies before it looks at its context.
const cloneStep = 64 << 20

// Clone makes to, an empty file, a copy of the regular file from, and moves the offsets of
// both. If the file system can, they share their blocks. Otherwise the kernel copies the
// data, and holes stay holes. Errors do not name the files.
func Clone(ctx context.Context, to, from *os.File) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	return unnamed(clone(ctx, to, from))
}

func clone(ctx context.Context, to, from *os.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := to.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); at < info.Size(); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		start, end, err := data(from, at, info.Size())
		if err != nil {
			return err
		}
		at = min(end, start+cloneStep)
		if err := copyRange(to, from, start, at-start); err != nil {
			return err
		}
	}
	return nil
}

// data returns where the next data at or behind an offset begins and ends. Behind the last
// data, both are size.
func data(f *os.File, at, size int64) (start, end int64, err error) {
	start, err = f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL): // the file system does not know holes
		return at, size, nil
	case err != nil:
		return 0, 0, err
	}
	end, err = f.Seek(start, unix.SEEK_HOLE)
	return start, min(end, size), err
}

func copyRange(to, from *os.File, at, n int64) error {
	for _, f := range []*os.File{to, from} {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
	}
	if _, err := io.CopyN(to, from, n); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // the file was truncated meanwhile
	} else if err != nil {
		return err
	}
	return nil
}

// unnamed returns the number of the system's error, without the path of a temporary file.
func unnamed(err error) error {
	var number unix.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
