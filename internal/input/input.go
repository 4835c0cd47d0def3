// Package input opens files for reading.
//
// [Open], [ReadFile] and [Seekable] are for files that the user named. They accept regular
// files, pipes, /dev/stdin and terminals, and stop waiting for input when the context ends.
// [Regular] and [ReadRegular] are for files in a directory that somebody else made: an image
// layout, a repository, a tree. A FIFO or a device there could block or mislead the reader, so
// it is refused without being opened. [ReadSecret] leaves no copies of a secret in memory.
//
// Open and [Stream] do not limit the size of the content. The caller must.
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
	// ErrNotRegular means that a file is not regular, but must be.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge means that the content exceeds the caller's limit.
	ErrTooLarge = errors.New("too large for a file of this kind")
	// ErrSpool means that the content of a pipe could not be copied to a temporary file.
	ErrSpool = errors.New("copy")
)

// Open opens a readable file of any kind. A regular file is returned as an *os.File. For any
// other file each read, and waiting for a writer of a FIFO, ends with an error when ctx ends.
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

// ReadFile reads a readable file of any kind. If it has more than limit bytes, the error wraps
// ErrTooLarge.
func ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	f, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return readAll(f, path, limit)
}

// Seekable opens a file that is read more than once. If the file is not regular, it is first
// copied to an unnamed file in os.TempDir. Then, if it has more than limit bytes, the error
// wraps ErrTooLarge.
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

// Regular opens a regular file. For any other file the error wraps ErrNotRegular. Symbolic
// links are followed.
func Regular(path string) (*os.File, error) {
	// Stat before opening, because opening a device can have effects.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	// O_NONBLOCK, in case a FIFO or device has replaced the file since.
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

// ReadRegular reads a regular file. If it has more than limit bytes, the error wraps
// ErrTooLarge. For any other file it wraps ErrNotRegular.
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

// open opens a file in another goroutine. If ctx ends first, that goroutine continues to wait.
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
