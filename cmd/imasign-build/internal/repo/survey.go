package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
)

// Names below a repository that belong to programs at work there.
const (
	metadataDir = "repodata"
	// unfinished is the directory where createrepo_c works, and its lock.
	unfinished = ".repodata"
	// workDir is the directory where this package works.
	workDir = ".imasign-build"
)

// kind says what a name becomes in the signed repository.
type kind int

const (
	aDir     kind = iota
	aFile         // shared
	aPackage      // signed
	aLink         // made again
)

// item is one name below a directory.
type item struct {
	rel   string
	kind  kind
	text  string // the target of a link in the signed repository
	state state  // of the name itself
	led   state  // of the target of a symbolic link that becomes a file or a directory
}

// survey is everything below a directory at one moment, including packages behind symbolic
// links: createrepo_c follows links, so clients install those as well.
type survey struct {
	root  string // without symbolic links
	items []item // in the order of their paths
	index map[string]int
	// outside are links to directories that have packages and also contain the link. They are
	// not followed.
	outside []string
}

// state tells whether a file has changed.
type state struct {
	dev, ino     uint64
	mode         uint32
	uid, gid     uint32
	size         int64
	mtime, ctime unix.Timespec
}

func stateOf(info fs.FileInfo) state {
	s := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // what os.Stat gives on Linux
	if info.IsDir() {                 // its size and times change with every name in it
		return state{dev: s.Dev, ino: s.Ino, mode: s.Mode, uid: s.Uid, gid: s.Gid}
	}
	return state{s.Dev, s.Ino, s.Mode, s.Uid, s.Gid, s.Size, unix.Timespec(s.Mtim), unix.Timespec(s.Ctim)}
}

// takeSurvey lists everything below root, which must not be a symbolic link.
func takeSurvey(ctx context.Context, root string) (*survey, error) {
	s := &survey{root: root, index: map[string]int{}}
	if err := s.dir(ctx, root, ".", []string{root}); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *survey) add(i item) {
	s.index[i.rel] = len(s.items)
	s.items = append(s.items, i)
}

// dir lists the directory at path, which has no symbolic links. through are the directories
// that links led to on the way here.
func (s *survey) dir(ctx context.Context, path, rel string, through []string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && (e.Name() == unfinished || e.Name() == workDir) {
			continue
		}
		full, below := filepath.Join(path, e.Name()), filepath.Join(rel, e.Name())
		info, err := os.Lstat(full)
		if err != nil {
			return err
		}
		if err := s.entry(ctx, full, item{rel: below, state: stateOf(info)}, info.Mode(), through); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) entry(ctx context.Context, path string, i item, mode fs.FileMode, through []string) error {
	switch {
	case mode.IsDir():
		s.add(i)
		return s.dir(ctx, path, i.rel, through)
	case mode&fs.ModeSymlink != 0:
		return s.link(ctx, path, i, through)
	case !mode.IsRegular():
		return fmt.Errorf("read %s: it is not a file, a directory or a symbolic link: remove it from the repository", filepath.Join(s.root, i.rel))
	}
	i.kind = fileKind(i.rel)
	s.add(i)
	return nil
}

func fileKind(name string) kind {
	if rpmfiles.IsPackage(name) {
		return aPackage
	}
	return aFile
}

// link decides what a symbolic link becomes. A link to packages outside becomes a copy of its
// target, so that they can be signed. All others stay links, and links to the inside lead to
// the inside of the signed repository.
func (s *survey) link(ctx context.Context, path string, i item, through []string) error {
	text, err := os.Readlink(path)
	if err != nil {
		return err
	}
	i.kind, i.text = aLink, text
	there, err := filepath.EvalSymlinks(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "too many links") {
			return err
		}
		s.add(i) // a dangling link
		return nil
	}
	info, err := os.Stat(there)
	if err != nil {
		return err
	}
	inside, within := below(s.root, there)
	switch {
	case info.IsDir() && filepath.Base(i.rel) == metadataDir && isFile(filepath.Join(there, "repomd.xml")):
		i.kind, i.led = aDir, stateOf(info)
		s.add(i)
		return s.dir(ctx, there, i.rel, append(through, there))
	case within && (info.IsDir() || fileKind(i.rel) == aFile || fileKind(inside) == aPackage):
		i.text = inwards(i.rel, text, inside)
	case info.IsDir():
		return s.linkedDir(ctx, there, i, info, through)
	case info.Mode().IsRegular() && fileKind(i.rel) == aPackage:
		i.kind, i.led = aPackage, stateOf(info)
	}
	s.add(i)
	return nil
}

// linkedDir follows a link to a directory elsewhere if that has packages.
func (s *survey) linkedDir(ctx context.Context, there string, i item, info fs.FileInfo, through []string) error {
	has, err := hasPackages(ctx, there)
	if err != nil {
		return err
	}
	around := slices.ContainsFunc(through, func(dir string) bool { _, within := below(there, dir); return within })
	if !has || around {
		if has {
			s.outside = append(s.outside, i.rel)
		}
		s.add(i)
		return nil
	}
	i.kind, i.led = aDir, stateOf(info)
	s.add(i)
	return s.dir(ctx, there, i.rel, append(slices.Clone(through), there))
}

var errFound = errors.New("found")

func hasPackages(ctx context.Context, dir string) (bool, error) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && !d.IsDir() && fileKind(path) == aPackage {
			err = errFound
		}
		return err
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// below returns the path of there relative to dir, and true if there is dir or inside it.
func below(dir, there string) (string, bool) {
	rel, err := filepath.Rel(dir, there)
	return rel, err == nil && filepath.IsLocal(rel)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// inwards returns the target of a link at rel that leads to inside, both relative to the root.
// It returns text, unless that is absolute or leaves the root on its way.
func inwards(rel, text, inside string) string {
	if !filepath.IsAbs(text) {
		dir := filepath.Dir(rel)
		for _, part := range strings.Split(text, "/") {
			if dir = filepath.Join(dir, part); !filepath.IsLocal(dir) {
				break
			}
		}
		if filepath.IsLocal(dir) {
			return text
		}
	}
	if short, err := filepath.Rel(filepath.Dir(rel), inside); err == nil {
		return short
	}
	return text
}

// path returns the path of an item.
func (s *survey) path(i item) string { return filepath.Join(s.root, i.rel) }

func (s *survey) find(rel string) (item, bool) {
	at, ok := s.index[rel]
	if !ok {
		return item{}, false
	}
	return s.items[at], true
}
