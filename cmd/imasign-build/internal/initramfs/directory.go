package initramfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// WriteDir writes the bundle as a directory tree, which appears whole or not at all. If dir
// exists and is not an empty directory, the error is ErrExists. The files belong to the
// caller and have the time mtime.
func (b *Bundle) WriteDir(dir string, mtime time.Time) (err error) {
	if err := free(dir); err != nil {
		return err
	}
	parent, name := filepath.Split(filepath.Clean(dir))
	part, err := os.MkdirTemp(filepath.Join(parent, "."), "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	for _, f := range b.Files {
		if err := f.write(part); err != nil {
			return err
		}
	}
	// A directory comes after its entries, because making an entry changes its time.
	for _, f := range slices.Backward(append([]File{{Path: ".", Mode: fs.ModeDir | 0o755}}, b.Files...)) {
		if err := f.finish(part, mtime); err != nil {
			return err
		}
	}
	// os.Rename would refuse an empty directory.
	switch err := syscall.Rename(part, filepath.Clean(dir)); {
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w", dir, ErrExists) // made since it was checked
	case err != nil:
		return &os.LinkError{Op: "rename", Old: part, New: dir, Err: err}
	}
	return nil
}

// free checks that rename will be able to replace dir, before anything is written.
func free(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(dir); err == nil {
			return fmt.Errorf("%s: a symbolic link without a target %w", dir, ErrExists)
		}
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: a file of this name %w (an archive's name ends in .cpio, .cpio.gz and so on)", dir, ErrExists)
	case err != nil:
		return err
	case len(list) > 0:
		return fmt.Errorf("%s: a directory that is not empty %w", dir, ErrExists)
	}
	return nil
}

func (f File) write(root string) error {
	full := filepath.Join(root, f.Path)
	switch f.Mode.Type() {
	case fs.ModeDir:
		return os.Mkdir(full, 0o700)
	case fs.ModeSymlink:
		return os.Symlink(string(f.Data), full)
	}
	return os.WriteFile(full, f.Data, 0o600)
}

// finish sets the permissions, which the umask may have changed, and the time.
func (f File) finish(root string, mtime time.Time) error {
	full := filepath.Join(root, f.Path)
	if f.Mode.Type() == fs.ModeSymlink {
		return nil
	}
	if err := os.Chmod(full, f.Mode.Perm()); err != nil {
		return err
	}
	return os.Chtimes(full, mtime, mtime)
}
