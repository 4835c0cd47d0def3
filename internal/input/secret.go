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

// ReadSecret reads a file that contains a secret. The file is read only once and may be of any
// kind (<(command) of a shell is a pipe). If it has more than limit bytes, the error wraps
// [ErrTooLarge]. ReadSecret stops waiting for a pipe when ctx ends. The returned slice is the
// only copy of the secret: the caller should overwrite it after use.
func ReadSecret(ctx context.Context, path string, limit int) ([]byte, fs.FileInfo, error) {
	return ReadSecretFrom(ctx, path, limit, func() (*os.File, error) { return os.Open(path) })
}

// WarnOfMode calls warn, unless it is nil, if users other than the owner may read or write a
// file with a secret. what names the kind of file, for the warning.
func WarnOfMode(warn func(string), what, path string, info fs.FileInfo) {
	if mode := info.Mode(); warn != nil && mode.IsRegular() && mode.Perm()&0o077 != 0 {
		warn(fmt.Sprintf("%s %s may be read or written by others (mode %04o): chmod 600 it", what, path, mode.Perm()))
	}
}

type content struct {
	data []byte
	info fs.FileInfo
	err  error
}

// ReadSecretFrom is [ReadSecret] of the file that open returns. name is its name in errors.
func ReadSecretFrom(ctx context.Context, name string, limit int, open func() (*os.File, error)) ([]byte, fs.FileInfo, error) {
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	// Buffered, so that after the end of ctx the goroutine can still end when the pipe ends.
	done := make(chan content, 1)
	go func() { done <- readNow(name, limit, open) }()
	select {
	case c := <-done:
		return c.data, c.info, c.err
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("read %s: %w", name, context.Cause(ctx))
	}
}

func readNow(name string, limit int, open func() (*os.File, error)) (c content) {
	f, err := open()
	if err != nil {
		return content{err: err}
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if c.info, c.err = f.Stat(); c.err != nil {
		return c
	}
	// One buffer of full size, because growing would leave copies in memory.
	buffer := make([]byte, limit+1)
	n, err := io.ReadFull(f, buffer)
	switch {
	case err == nil:
		clear(buffer)
		c.err = fmt.Errorf("read %s: %w: more than %d bytes", name, ErrTooLarge, limit)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.data = buffer[:n]
	case errors.Is(err, syscall.EISDIR):
		c.err = fmt.Errorf("%s is a directory: name the file in it", name)
	default:
		clear(buffer)
		c.err = err
	}
	return c
}
