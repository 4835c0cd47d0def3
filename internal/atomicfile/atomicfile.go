// Package atomicfile writes a file that appears whole or not at all: into a
// temporary file of the same directory, fsync, rename, and fsync of the
// directory. What was at the path is there, unchanged, until that rename, and for
// good when anything fails.
//
// [Create] replaces what exists and keeps its mode and owner; [CreateNew] refuses
// it, also when it appears while the file is being written.
//
// Under pseudo and fakeroot names are given and taken through the C library: a raw
// rename over a file that they track would leave the old file's owner and xattrs to
// the new one. Extended attributes and ACLs of a replaced file are not carried over.
// Several files that must appear together are left to the caller.
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

// What a caller may want to tell apart.
var (
	// ErrExists: CreateNew found something, if only a dangling symbolic link.
	ErrExists = errors.New("exists already and is not overwritten")
	// ErrNotRegular: the target is a directory, device, FIFO or socket, which a
	// rename would destroy.
	ErrNotRegular = errors.New("not a regular file")
	// ErrUnsynced: the file is at its path, but its directory could not be synced.
	ErrUnsynced = errors.New("written, but may not survive a power failure")
	// ErrAborted: Write or Commit after Abort, or a second Commit.
	ErrAborted = errors.New("not open for writing any more")
)

// File is being written. It is for one goroutine.
type File struct {
	file   *os.File // with a temporary name
	out    output
	target string // symbolic links resolved
	failed error  // what went wrong first
	done   bool
}

// output is what becomes of the temporary file.
type output interface {
	// publish syncs and closes the file and gives it its name.
	publish() error
	// discard closes and removes it.
	discard() error
}

// Create begins a file that Commit puts at path, in place of any regular file
// there, whose mode and owner it takes over. A symbolic link stays, and what it
// points to is replaced. A file that is new gets perm less the umask.
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
	// Nobody may read the new content before its mode is that of the old one.
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

// CreateNew begins a file that Commit puts at path if nothing is there then,
// with perm less the umask.
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
			err = path.Err // its path is the temporary one
		}
		return nil, fmt.Errorf("create a temporary file for %s: %w", target, err)
	}
	return f, nil
}

// Write writes on. After an error Commit fails, too: the content has a hole.
func (f *File) Write(p []byte) (int, error) {
	if err := f.usable(); err != nil {
		return 0, err
	}
	n, err := f.file.Write(p)
	return n, f.fail("write", err)
}

// ReadFrom writes what r has, in the kernel where r is a file.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if err := f.usable(); err != nil {
		return 0, err
	}
	n, err := f.file.ReadFrom(r)
	return n, f.fail("write", err)
}

// ReadAt reads what was written, from an offset.
func (f *File) ReadAt(p []byte, offset int64) (int, error) { return f.file.ReadAt(p, offset) }

// Commit puts the file at its path. When it fails, what was there still is; the
// one exception is [ErrUnsynced].
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

// Abort leaves everything as it was. After Commit it does nothing, so it can be
// deferred.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	// A temporary file that cannot be removed is litter, which is all that its
	// error could tell.
	_ = f.out.discard()
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

// fail remembers the first error, under the name that the user knows.
func (f *File) fail(operation string, err error) error {
	if err == nil {
		return nil
	}
	f.failed = fmt.Errorf("%s %s: %w", operation, f.target, cause(err, f.file.Name()))
	return f.failed
}

// cause drops the temporary file's name, which tells nobody anything. The name of
// a file that ReadFrom failed to read stays.
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

// SetModTime has the file appear with this mtime instead of that of its last write.
func (f *File) SetModTime(t time.Time) error {
	if err := f.usable(); err != nil {
		return err
	}
	return f.fail("set the time of", os.Chtimes(f.file.Name(), time.Time{}, t))
}
