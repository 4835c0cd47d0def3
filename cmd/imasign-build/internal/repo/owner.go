package repo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// own gives new files in the sibling the owners, groups and directory modes of the site, so
// that a server that reads packages by its group still can after an exchange. Metadata files
// get those of their directory. A user who may not change owners keeps the files.
func (s *site) own(to string) error {
	for _, i := range s.items {
		like := i.state
		if i.led != (state{}) {
			like = i.led
		}
		if i.kind != aDir && i.kind != aPackage {
			continue
		}
		if err := chown(filepath.Join(to, i.rel), like); err != nil {
			return err
		}
		if i.kind != aDir || filepath.Base(i.rel) != metadataDir {
			continue
		}
		files, err := os.ReadDir(filepath.Join(to, i.rel))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := chown(filepath.Join(to, i.rel, f.Name()), like); err != nil {
				return err
			}
		}
	}
	info, err := os.Stat(s.root)
	if err != nil {
		return err
	}
	return chown(to, stateOf(info))
}

func chown(path string, like state) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) { // metadata of a type that is left out
		return nil
	}
	if err != nil {
		return err
	}
	is := stateOf(info)
	if !info.IsDir() && info.Sys().(*syscall.Stat_t).Nlink > 1 { //nolint:forcetypeassert // what os.Lstat gives on Linux
		return nil // shared with the site, which must not change
	}
	if is.uid != like.uid || is.gid != like.gid {
		// In a user namespace, owners that are not mapped are invalid.
		if err := os.Lchown(path, int(like.uid), int(like.gid)); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	if !info.IsDir() || is.mode == like.mode {
		return nil
	}
	if err := unix.Chmod(path, like.mode&0o7777); err != nil && !errors.Is(err, fs.ErrPermission) {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}
