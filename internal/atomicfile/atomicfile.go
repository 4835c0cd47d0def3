// Package atomicfile writes a file that appears complete or not at all. It writes a temporary
// file in the same directory, and then does fsync, rename, and fsync of the directory. Until
// the rename, and if anything fails, the old file stays unchanged.
//
// [Create] replaces an existing file and keeps its mode and owner. It does not keep extended
// attributes and ACLs. [CreateNew] refuses an existing file, even one that appears while the
// new file is being written.
//
// Under pseudo and fakeroot, files are renamed, linked and removed through the C library.
// After a raw rename over a file that pseudo or fakeroot tracks, the new file would have the
// old file's owner and xattrs.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Errors that callers act on.
var (
	// ErrExists: CreateNew found an existing file or a dangling symbolic link.
	ErrExists = errors.New("already exists")
	// ErrNotRegular: the target is a directory, device, FIFO or socket, which a
	// rename would destroy.
	ErrNotRegular = errors.New("not a regular file")
	// ErrUnsynced: the file is at its path, but its directory could not be synced.
	ErrUnsynced = errors.New("written, but may not survive a power failure")
	// ErrAborted: Write or Commit after Abort, or a second Commit.
	ErrAborted = errors.New("no longer open for writing")
)

// File is a file that is being written. It is for one goroutine.
type File struct {
	file   *os.File // has a temporary name
	out    output
	target string // with symbolic links resolved
	failed error  // the first error
	done   bool
}

// output publishes or discards the temporary file.
type output interface {
	// publish syncs and closes the file and gives it its name.
	publish() error
	// discard closes and removes the file.
	discard() error
}

// Create begins a file that Commit puts at path. It replaces a regular file there and keeps
// that file's mode and owner. If path is a symbolic link, the link stays and its target is
// replaced. A new file gets the permissions perm, less the umask.
func Create(path string, perm fs.FileMode) (*File, error) {
	target, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	old, err := lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return begin(target, perm, false)
	case err != nil:
		return nil, err
	case !old.mode.IsRegular():
		return nil, fmt.Errorf("replace %s: %w", path, ErrNotRegular)
	}
	// Nobody else may read the new content before the file has the old file's mode.
	f, err := begin(target, perm&0o600, false)
	if err != nil {
		return nil, err
	}
	if err := f.inherit(old); err != nil {
		f.Abort()
		return nil, fmt.Errorf("replace %s: %w", path, err)
	}
	return f, nil
}

// CreateNew begins a file that Commit puts at path if nothing exists there at that time. The
// file gets the permissions perm, less the umask.
func CreateNew(path string, perm fs.FileMode) (*File, error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil, fmt.Errorf("create %s: %w", path, ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return begin(path, perm, true)
}

func begin(target string, perm fs.FileMode, fresh bool) (*File, error) {
	start := beginRaw
	if preloaded() {
		start = beginTracked
	}
	f, err := start(target, perm, fresh)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // its path is that of the temporary file
		}
		return nil, &fs.PathError{Op: "create", Path: target, Err: err}
	}
	return f, nil
}

// Write appends to the file. After an error Commit fails too, because content is missing.
func (f *File) Write(p []byte) (int, error) {
	if err := f.usable(); err != nil {
		return 0, err
	}
	n, err := f.file.Write(p)
	return n, f.fail("write", err)
}

// ReadFrom appends the content of r. If r is a file, the kernel copies it.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if err := f.usable(); err != nil {
		return 0, err
	}
	n, err := f.file.ReadFrom(r)
	return n, f.fail("write", err)
}

// ReadAt reads written content at an offset.
func (f *File) ReadAt(p []byte, offset int64) (int, error) { return f.file.ReadAt(p, offset) }

// Raw returns the open file under its temporary name, for changes that Write cannot make.
// Commit and Abort close it.
func (f *File) Raw() *os.File { return f.file }

// Commit puts the file at its path. If it fails, the old file is still there, except for
// [ErrUnsynced].
func (f *File) Commit() error {
	if err := f.usable(); err != nil {
		f.Abort()
		return err
	}
	if err := f.out.publish(); err != nil {
		f.Abort()
		return fmt.Errorf("write %s: %w", f.target, cause(err, f.file.Name()))
	}
	f.done = true
	if err := syncDir(filepath.Dir(f.target)); err != nil {
		return fmt.Errorf("%s: %w: %w", f.target, ErrUnsynced, err)
	}
	return nil
}

// Abort discards the new file. After Commit it does nothing, so it can be deferred.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	_ = f.out.discard() // the error would only say that a temporary file is left
}

// WriteFile is Create, Write and Commit.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return write(data)(Create(path, perm))
}

// WriteNewFile is CreateNew, Write and Commit.
func WriteNewFile(path string, data []byte, perm fs.FileMode) error {
	return write(data)(CreateNew(path, perm))
}

func write(data []byte) func(*File, error) error {
	return func(f *File, err error) error {
		if err != nil {
			return err
		}
		defer f.Abort()
		if _, err := f.Write(data); err != nil {
			return err
		}
		return f.Commit()
	}
}

func (f *File) usable() error {
	switch {
	case f.failed != nil:
		return f.failed
	case f.done:
		return fmt.Errorf("write %s: %w", f.target, ErrAborted)
	}
	return nil
}

// fail stores an error, with the name of the target.
func (f *File) fail(operation string, err error) error {
	if err == nil {
		return nil
	}
	f.failed = fmt.Errorf("%s %s: %w", operation, f.target, cause(err, f.file.Name()))
	return f.failed
}

// cause removes the temporary file's name from an error, because users do not know that name.
// The name of a file that ReadFrom could not read stays.
func cause(err error, temporary string) error {
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == temporary {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) && link.Old == temporary {
		return link.Err
	}
	return err
}

// SetModTime sets the mtime that the file has after Commit.
func (f *File) SetModTime(t time.Time) error {
	if err := f.usable(); err != nil {
		return err
	}
	return f.fail("set the time of", os.Chtimes(f.file.Name(), time.Time{}, t))
}
