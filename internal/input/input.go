// Package input opens files that are read.
//
// [Open], [ReadFile] and [Seekable] are for what a user named: a pipe of a shell,
// /dev/stdin or a terminal will do as well as a regular file, and waiting for one ends
// with the context. [Regular] and [ReadRegular] are for what stands in somebody else's
// directory: a layout, a repository, a tree. There a FIFO or a device is an attempt to
// hold up or to mislead whoever reads it, and is refused without being opened.
// [ReadSecret] leaves no copy of what it read behind.
//
// What the content means is left to the caller, and so is a bound for streams.
package input

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

var (
	// ErrNotRegular is something else where a regular file has to be.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge is more content than such a file ever has.
	ErrTooLarge = errors.New("larger than any such file")
	// ErrSpool is a pipe's content that could not be kept in a temporary file.
	ErrSpool = errors.New("copy")
)

// Open opens a file of any kind that can be read. A regular file is returned as the
// *os.File that it is; of any other kind each read ends with an error when ctx does,
// and so does waiting for somebody to write to a FIFO.
func Open(ctx context.Context, path string) (io.ReadCloser, error) {
	f, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err == nil && info.Mode().IsRegular():
		return f, nil
	case err == nil && info.IsDir():
		err = fmt.Errorf("%s is a directory: name the file in it", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &stream{ctx: ctx, file: f, name: path}, nil
}

// Stream returns a reader of f, such as standard input, whose reads end when ctx does.
// A regular file is returned as it is.
func Stream(ctx context.Context, f *os.File, name string) io.Reader {
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return f
	}
	return &stream{ctx: ctx, file: f, name: name}
}

// ReadFile reads a file of any kind that can be read, and no more than limit bytes;
// more is ErrTooLarge.
func ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	f, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return readAll(f, path, limit)
}

// Seekable opens a file that is read more than once. What is not regular is copied
// first, to a file without a name in TMPDIR; more than limit bytes of it are
// ErrTooLarge.
func Seekable(ctx context.Context, path string, limit int64) (*os.File, error) {
	in, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if f, ok := in.(*os.File); ok {
		return f, nil
	}
	defer in.Close() //nolint:errcheck // opened for reading
	spool, err := Spool("")
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrSpool, path, err)
	}
	if err := fill(spool, in, path, limit); err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	return spool, nil
}

func fill(spool *os.File, in io.Reader, path string, limit int64) error {
	n, err := io.Copy(spool, io.LimitReader(in, limit+1))
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrSpool, path, err)
	}
	if n > limit {
		return tooLarge(path, limit)
	}
	_, err = spool.Seek(0, io.SeekStart)
	return err
}

// Regular opens a regular file; anything else is ErrNotRegular. Symbolic links are
// followed.
func Regular(path string) (*os.File, error) {
	// Looked at first: opening a device can already do something.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	// O_NONBLOCK, for one that has taken its place since.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ReadRegular reads a regular file, and no more than limit bytes; more is ErrTooLarge,
// anything but a regular file ErrNotRegular.
func ReadRegular(path string, limit int64) ([]byte, error) {
	f, err := Regular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return readAll(f, path, limit)
}

func readAll(r io.Reader, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(path, limit)
	}
	return data, nil
}

func tooLarge(path string, limit int64) error {
	return fmt.Errorf("%s: %w (at most %d bytes)", path, ErrTooLarge, limit)
}

func notRegular(path string, info fs.FileInfo) error {
	return fmt.Errorf("%s: %w: it is a %s", path, ErrNotRegular, kind(info.Mode()))
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// open waits in another goroutine, which stays behind when nobody waits any more.
func open(ctx context.Context, path string) (*os.File, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		if errors.Is(o.err, syscall.ENXIO) {
			if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
				return nil, fmt.Errorf("%s is a socket, which cannot be read: name a file", path)
			}
		}
		return o.file, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("open %s: %w", path, context.Cause(ctx))
	}
}
