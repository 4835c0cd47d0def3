package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/child"
)

// besides writes a sibling of the site.
func (r *task) besides(ctx context.Context, s *site) error {
	partial, err := r.checkOutput()
	if err != nil {
		return err
	}
	if err := os.Mkdir(partial, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	unlock, err := r.lock(partial, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.await(ctx, partial); err != nil {
		return err
	}
	return r.again(ctx, s, func(s *site) error { return r.write(ctx, s, partial) })
}

// write makes the whole sibling of a site and publishes it.
func (r *task) write(ctx context.Context, s *site, partial string) error {
	if err := r.decide(s); err != nil {
		return err
	}
	if err := prune(s.survey, partial); err != nil {
		return err
	}
	if err := s.copyTo(ctx, partial, s.packages()); err != nil {
		return err
	}
	return r.packages(ctx, s, partial, func(ctx context.Context, _ bool, failed error) error {
		if failed != nil {
			return failed
		}
		return r.complete(ctx, s, partial)
	})
}

// complete makes the metadata of a sibling that has all its packages, and publishes it.
func (r *task) complete(ctx context.Context, s *site, partial string) error {
	if err := r.makeAll(ctx, s, partial); err != nil {
		return err
	}
	if err := s.own(partial); err != nil {
		return err
	}
	r.tellRemovals()
	if err := r.warnAboutLists(s); err != nil {
		return err
	}
	return r.publish(ctx, s, partial)
}

// makeAll makes the metadata of all repositories in the sibling.
func (r *task) makeAll(ctx context.Context, s *site, partial string) error {
	for _, p := range s.repositories {
		dir := filepath.Join(partial, p.rel)
		m := &making{task: r, listing: p, to: partial, dir: dir, out: dir}
		if err := m.make(ctx); err != nil {
			return err
		}
		if err := os.RemoveAll(m.work()); err != nil {
			return err
		}
	}
	return nil
}

// await waits for programs that an interrupted run started and that still run.
func (r *task) await(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || d.Name() != workDir {
			return err
		}
		err = child.Wait(ctx, filepath.Join(path, "log"), func() {
			r.warn("waiting for a program that an interrupted run left running in " + filepath.Dir(path))
		})
		if err != nil {
			return err
		}
		return fs.SkipDir
	})
}

// checkOutput checks the output and returns the path of the partial sibling.
func (r *task) checkOutput() (string, error) {
	out := filepath.Clean(r.Output)
	switch free, err := isNotThere(out); {
	case err != nil:
		return "", err
	case !free && around(out, r.Dir):
		return "", fmt.Errorf("write %s: %w", out, ErrAround)
	case !free:
		return "", fmt.Errorf("write %s: %w", out, ErrExists)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(out))
	if err != nil {
		return "", err
	}
	if parent, err = filepath.Abs(parent); err != nil {
		return "", err
	}
	if _, within := below(r.Dir, filepath.Join(parent, filepath.Base(out))); within {
		return "", fmt.Errorf("write %s: it is inside the repository: choose a path beside it", out)
	}
	if err := sameFileSystem(r.Dir, parent); err != nil && r.Swap {
		return "", err
	}
	return out + ".partial", nil
}

// around reports whether the directory at path is dir or above it.
func around(path, dir string) bool {
	there, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	if there, err = filepath.Abs(there); err != nil {
		return false
	}
	_, within := below(there, dir)
	return within
}

func sameFileSystem(a, b string) error {
	var sa, sb unix.Stat_t
	if err := unix.Stat(a, &sa); err != nil {
		return &os.PathError{Op: "stat", Path: a, Err: err}
	}
	if err := unix.Stat(b, &sb); err != nil {
		return &os.PathError{Op: "stat", Path: b, Err: err}
	}
	if sa.Dev != sb.Dev {
		return fmt.Errorf("swap %s: %s is on another file system, so they cannot be exchanged: choose a path on the same file system", a, b)
	}
	return nil
}

// prune removes from to what an interrupted run left there, if the site no longer has it or
// has another kind of file there. It also removes metadata, which would be taken for old
// metadata, complete or not.
func prune(s *survey, to string) error {
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == to {
			return err
		}
		rel, err := filepath.Rel(to, path)
		if err != nil {
			return err
		}
		if i, ok := s.find(rel); ok && i.kind.is(d.Type()) && !isMetadata(d) {
			return nil
		}
		if err := os.RemoveAll(path); err != nil || !d.IsDir() { //nolint:gosec // its lock keeps other runs away from the sibling
			return err
		}
		return fs.SkipDir
	})
}

func isMetadata(d fs.DirEntry) bool {
	return d.IsDir() && (d.Name() == metadataDir || d.Name() == unfinished || d.Name() == workDir)
}

func (k kind) is(mode fs.FileMode) bool {
	switch k {
	case aDir:
		return mode.IsDir()
	case aLink:
		return mode&fs.ModeSymlink != 0
	}
	return mode.IsRegular()
}

// copyTo makes the tree of the signed site without its packages: directories, symbolic links,
// and other files, which are shared with the site. It keeps what an interrupted run made.
// Metadata files are shared as well, because createrepo_c writes new files and only removes
// names of old ones.
func (s *site) copyTo(ctx context.Context, to string, packages map[string]bool) error {
	if err := makeDir(s.root, to); err != nil {
		return err
	}
	for _, i := range s.items {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if packages[i.rel] || s.believed(i.rel) {
			continue
		}
		if err := s.copyItem(i, filepath.Join(to, i.rel)); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) copyItem(i item, target string) error {
	switch i.kind {
	case aDir:
		return makeDir(s.path(i), target)
	case aLink:
		return link(i.text, target)
	}
	if err := share(s.path(i), target); err != nil {
		return err
	}
	s.linked(i.rel)
	return nil
}

// believed reports whether a file is the signature of an old repomd.xml or its key.
func (s *site) believed(rel string) bool {
	for _, r := range s.repositories {
		if rel == filepath.Join(r.rel, signaturePath) || rel == filepath.Join(r.rel, keyPath) {
			return true
		}
	}
	return false
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

func link(text, to string) error {
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

// share makes to a hard link to from, or a copy if the file system has no hard links.
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
	return atomicfile.LinkOrCopy(from, to)
}
