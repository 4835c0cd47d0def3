package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// sibling makes the tree that the signed repository will be, but for its packages,
// which are returned: directories, symbolic links, and every other file shared
// with the old repository. What is there from an interrupted run stays. Metadata
// are shared as well: createrepo_c writes new files and removes names.
func sibling(ctx context.Context, from, to string) ([]rpmsign.Unit, error) {
	var units []rpmsign.Unit
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return makeDir(path, target)
		case d.Type()&fs.ModeSymlink != 0:
			return link(path, target)
		case !d.Type().IsRegular():
			return fmt.Errorf("copy %s: neither a file, a directory nor a symbolic link; a repository has none of it", path)
		case strings.HasSuffix(rel, ".rpm"):
			units = append(units, rpmsign.Unit{Path: path, Output: target})
			return nil
		case rel == signaturePath, rel == keyPath:
			return nil // of the old repomd.xml
		}
		return share(path, target)
	})
	return units, err
}

func makeDir(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(to, info.Mode().Perm())
}

func link(from, to string) error {
	text, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if there, err := os.Readlink(to); err == nil && there == text {
		return nil
	}
	return os.Symlink(text, to)
}

// share makes to the same file as from, by its inode.
func share(from, to string) error {
	a, err := os.Stat(from)
	if err != nil {
		return err
	}
	if b, err := os.Lstat(to); err == nil {
		if os.SameFile(a, b) {
			return nil
		}
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	return rpmsign.LinkOrCopy(from, to)
}

// sync has everything below dir reach the disk.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
