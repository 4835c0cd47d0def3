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

// prune removes what an interrupted run left below to and the repository does not
// have, or has as something else, by now. Metadata go as well: complete or not, they
// would be taken for old ones.
func prune(from, to string) error {
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == to {
			return err
		}
		rel, err := filepath.Rel(to, path)
		if err != nil {
			return err
		}
		was, err := os.Lstat(filepath.Join(from, rel))
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && was.Mode().Type() == d.Type() && !isMetadata(rel):
			return nil
		}
		if err := os.RemoveAll(path); err != nil || !d.IsDir() { //nolint:gosec // by its lock, the sibling is this run's alone
			return err
		}
		return fs.SkipDir
	})
}

func isMetadata(rel string) bool { return rel == "repodata" || rel == unfinished }

// unfinished is where createrepo_c works, and which it takes for a lock.
const unfinished = ".repodata"

// sibling makes the tree that the signed repository will be, but for its packages,
// which are returned: directories, symbolic links, and every other file shared
// with the old repository. What is there from an interrupted run stays. Metadata
// are shared as well: createrepo_c writes new files and removes names.
func (o *Options) sibling(ctx context.Context, to string) ([]rpmsign.Unit, error) {
	var units []rpmsign.Unit
	err := filepath.WalkDir(o.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(o.Dir, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir() && rel == unfinished:
			return fs.SkipDir
		case d.IsDir():
			return makeDir(path, target)
		case d.Type()&fs.ModeSymlink != 0:
			o.warnAboutLink(path)
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

// warnAboutLink tells of packages that belong to the repository's metadata but lie
// elsewhere, where nothing is signed.
func (o *Options) warnAboutLink(path string) {
	there, err := filepath.EvalSymlinks(path)
	if err != nil {
		return // it leads nowhere
	}
	rel, err := filepath.Rel(o.Dir, there)
	if info, statErr := os.Stat(there); err == nil && filepath.IsLocal(rel) || statErr != nil || !info.IsDir() && !strings.HasSuffix(path, ".rpm") {
		return
	}
	o.Observe.Warn(path, "leads out of the repository: packages there are not signed")
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
	switch there, err := os.Readlink(to); {
	case err == nil && there == text:
		return nil
	case err == nil:
		if err := os.Remove(to); err != nil {
			return err
		}
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

// flush has everything below dir reach the disk.
func flush(dir string) error {
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
