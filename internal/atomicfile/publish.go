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

// attributes are what a file takes over from the one that it replaces.
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

// inherit takes over owner and mode; in this order, as chown clears setuid.
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

// replacing is the output that takes the place of what is there.
type replacing struct{ pending *renameio.PendingFile }

func (r replacing) publish() error { return r.pending.CloseAtomicallyReplace() }

func (r replacing) discard() error { return r.pending.Cleanup() }

// fresh is the output that needs a free name.
type fresh struct {
	replacing
	target string
}

func beginRaw(target string, perm fs.FileMode, isNew bool) (*File, error) {
	// Given no directory, renameio would try $TMPDIR.
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

// publish gives the file its name unless that is taken.
func (f fresh) publish() error {
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

// publishByLink is publish for file systems without RENAME_NOREPLACE, such as
// NFS: a hard link refuses a taken name as well.
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
