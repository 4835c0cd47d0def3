package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// maxLinks is the number of symbolic links that the kernel follows too.
const maxLinks = 40

// resolve follows symbolic links at path itself. Unlike filepath.EvalSymlinks, it accepts a
// dangling link and returns the path of the missing target.
func resolve(path string) (string, error) {
	for range maxLinks {
		next, err := os.Readlink(path)
		if err != nil {
			// It is not a link (EINVAL), or does not exist. The next use of the path returns
			// any other error again.
			return path, nil //nolint:nilerr // see above
		}
		if !filepath.IsAbs(next) {
			next = directory(path) + next
		}
		// ".." after a link to a directory is the parent of the link's target. Therefore
		// resolve the directory before cleaning the path.
		next = strings.TrimRight(next, "/")
		dir, err := filepath.EvalSymlinks(directory(next))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(next))
	}
	return "", syscall.ELOOP
}

// directory returns path up to and including the last slash, or "./".
func directory(path string) string {
	dir, _ := filepath.Split(path)
	if dir == "" {
		return "./"
	}
	return dir
}

// attributes are what a new file inherits from the file that it replaces.
type attributes struct {
	mode     fs.FileMode
	uid, gid uint32
}

func lstat(path string) (attributes, error) {
	if preloaded() {
		return lstatTracked(path)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return attributes{}, err
	}
	return attributesOf(info), nil
}

func attributesOf(info fs.FileInfo) attributes {
	a := attributes{mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		a.uid, a.gid = st.Uid, st.Gid
	}
	return a
}

// inherit sets the old file's owner and then its mode, because chown clears setuid.
func (f *File) inherit(old attributes) error {
	chown, chmod := f.file.Chown, f.file.Chmod
	if preloaded() {
		chown, chmod = f.chownTracked, f.chmodTracked
	}
	now, err := lstat(f.file.Name())
	if err != nil {
		return err
	}
	if old.uid != now.uid || old.gid != now.gid {
		if err := chown(int(old.uid), int(old.gid)); err != nil {
			return fmt.Errorf("keep its owner %d:%d: %w", old.uid, old.gid, cause(err, f.file.Name()))
		}
	}
	if err := chmod(old.mode); err != nil {
		return fmt.Errorf("keep its mode %v: %w", old.mode, cause(err, f.file.Name()))
	}
	return nil
}

// replacing is an output that replaces an existing file.
type replacing struct{ pending *renameio.PendingFile }

func (r replacing) publish() error { return r.pending.CloseAtomicallyReplace() }

func (r replacing) discard() error { return r.pending.Cleanup() }

// fresh is an output that refuses an existing file.
type fresh struct {
	replacing
	target string
}

func beginRaw(target string, perm fs.FileMode, isNew bool) (*File, error) {
	// Without a directory, renameio would try $TMPDIR.
	pending, err := renameio.NewPendingFile(target, renameio.WithTempDir(filepath.Dir(target)), renameio.WithPermissions(perm))
	if err != nil {
		return nil, err
	}
	f := &File{file: pending.File, out: replacing{pending}, target: target}
	if isNew {
		f.out = fresh{replacing{pending}, target}
	}
	return f, nil
}

// publish gives the file its name unless that exists.
func (f fresh) publish() error {
	if err := f.pending.Sync(); err != nil {
		return err
	}
	name := f.pending.Name()
	err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, f.target, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return f.pending.File.Close() // there is no temporary name to clean up any more
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return f.publishByLink(name) // the file system does not support the flag
	}
	return err
}

// publishByLink is publish for file systems without RENAME_NOREPLACE, such as NFS. Making a
// hard link fails too if the name exists.
func (f fresh) publishByLink(name string) error {
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
			return nil // the directory can be written, but not opened to sync it
		}
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written through it
	// EINVAL means that the file system cannot sync a directory.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
