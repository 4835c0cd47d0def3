package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// publish gives the complete sibling its name. With Swap it exchanges it with the site, if the
// site has not changed since it was signed.
func (r *task) publish(ctx context.Context, s *site, partial string) error {
	if err := flush(partial); err != nil {
		return err
	}
	if !r.Swap {
		if err := r.unchanged(ctx, s); err != nil {
			return err
		}
	}
	out := filepath.Clean(r.Output)
	switch err := rename(partial, out); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("write %s: %w since this run began: the signed repository is at %s", out, ErrExists, partial)
	case err != nil:
		return err
	}
	if r.Swap {
		if err := r.swap(ctx, s, out, partial); err != nil {
			return err
		}
	}
	r.summary.Agree = true
	return flush(filepath.Dir(out))
}

// swap exchanges the sibling with the site, unless somebody else changed the site up to the
// last moment. Changes in that moment are found afterwards in the old site.
func (r *task) swap(ctx context.Context, s *site, out, partial string) error {
	if err := r.unchanged(ctx, s); err != nil {
		return errors.Join(err, rename(out, partial))
	}
	if err := exchange(out, r.Dir); err != nil {
		return fmt.Errorf("%w: the signed repository is at %s", err, out)
	}
	late, err := s.lateChanges(out)
	if err != nil {
		return err
	}
	if len(late) > 0 {
		return fmt.Errorf("%s: %w at the moment of the exchange, which is done: %s: find this in the old repository at %s, and add it to %s", r.given, ErrChanged, some(late), out, r.given)
	}
	return nil
}

// lateChanges compares the site, which is now at dir, with its survey. It does not follow
// symbolic links.
func (s *survey) lateChanges(dir string) ([]string, error) {
	var list []string
	met := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == unfinished || d.Name() == workDir) {
			return fs.SkipDir
		}
		met[rel] = true
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch i, known := s.find(rel); {
		case !known:
			list = append(list, rel+" was added")
		case i.state.but() != stateOf(info).but():
			list = append(list, rel+" was changed")
		}
		return nil
	})
	for _, i := range s.items {
		if _, err := os.Lstat(filepath.Join(dir, filepath.Dir(i.rel))); err == nil && !met[i.rel] && !s.behindLink(i.rel) {
			list = append(list, i.rel+" was removed")
		}
	}
	return list, err
}

// behindLink reports whether a path goes through a symbolic link of the site.
func (s *survey) behindLink(rel string) bool {
	for dir := filepath.Dir(rel); dir != "."; dir = filepath.Dir(dir) {
		if i, ok := s.find(dir); ok && i.led != (state{}) {
			return true
		}
	}
	return false
}

// rename gives a directory another name, which must be free.
func rename(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// exchange swaps two directories in one step.
func exchange(a, b string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// flush syncs the file system that dir is on.
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
