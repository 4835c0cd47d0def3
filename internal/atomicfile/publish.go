package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLinks is where the kernel gives up following symbolic links, too.
const maxLinks = 40

// resolve follows symbolic links at path itself; unlike filepath.EvalSymlinks it
// takes a dangling one for the place where its target will be.
func resolve(path string) (string, error) {
	for range maxLinks {
		next, err := os.Readlink(path)
		if err != nil {
			// Not a link (EINVAL), or nothing there. What else is wrong shows at
			// the next use of the path.
			return path, nil //nolint:nilerr // see above
		}
		if !filepath.IsAbs(next) {
			next = directory(path) + next
		}
		// ".." after a linked directory is not what its text says: the directory
		// is resolved before anything is cleaned.
		next = strings.TrimRight(next, "/")
		dir, err := filepath.EvalSymlinks(directory(next))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(next))
	}
	return "", syscall.ELOOP
}

// directory is the text before the last name, with its slash.
func directory(path string) string {
	dir, _ := filepath.Split(path)
	if dir == "" {
		return "./"
	}
	return dir
}

// inherit takes over owner and mode; in this order, as chown clears setuid.
func (f *File) inherit(old fs.FileInfo) error {
	now, err := f.pending.Stat()
	if err != nil {
		return err
	}
	was, is := old.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	if was.Uid != is.Uid || was.Gid != is.Gid {
		if err := f.pending.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return fmt.Errorf("keep its owner %d:%d: %w", was.Uid, was.Gid, cause(err, f.pending.Name()))
		}
	}
	if err := f.pending.Chmod(old.Mode()); err != nil {
		return fmt.Errorf("keep its mode %v: %w", old.Mode(), cause(err, f.pending.Name()))
	}
	return nil
}

// publishNew gives the file its name unless that is taken.
func (f *File) publishNew() error {
	if err := f.pending.Sync(); err != nil {
		return err
	}
	name := f.pending.Name()
	err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, f.target, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		// The temporary name is gone; nothing is left but to close.
		return f.pending.File.Close()
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return f.publishByLink(name) // the file system knows no such flag
	}
	return err
}

// publishByLink is publishNew for file systems without RENAME_NOREPLACE, such as
// NFS: a hard link refuses a taken name as well.
func (f *File) publishByLink(name string) error {
	if err := os.Link(name, f.target); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return ErrExists
		}
		return err
	}
	return f.pending.Cleanup()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil // a directory to write into but not to read: nothing to sync by
		}
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written through it
	// Some file systems cannot sync a directory and say so by EINVAL.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
