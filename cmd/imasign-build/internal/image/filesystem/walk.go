package filesystem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"unsafe"

	"github.com/imasign/imasign-build/internal/quote"
)

// Limits that no image of a device reaches. They keep a walk below 64 MiB.
const (
	maxPending     = 40 << 20 // bytes of the steps of the directories that the walk is in
	maxDirectories = 1 << 19  // directories of all file systems
	maxNames       = 1 << 22  // names in all directories, which may share what is stored
	maxPath        = 64 << 10 // bytes
	maxName        = 255      // bytes; NAME_MAX of the kernel
)

// nobody is the number that no user or group has. The kernel shows another one in its place.
const nobody = 1<<32 - 1

// Node is one name in a walk. The root itself is not a node.
type Node struct {
	Path string // relative to the root, slash-separated, in raw bytes
	Inode

	Reader Reader
	// ID of the inode in Reader. For a mount point, both are those of the mounted root.
	ID ID
}

// Options are options of a walk.
type Options struct {
	// Mounts are file systems that are mounted in the root file system, by path.
	Mounts map[string]Reader
	// Lists, unless nil, reports whether the path of an empty lost+found is expected, so
	// that it is yielded.
	Lists func(path string) bool
	// MaxNames limits the number of names. Zero means 4,194,304.
	MaxNames int
	// MaxContent limits the bytes that all regular files together may have, as stated by
	// their inodes. Zero means no limit.
	MaxContent int64
}

// Walk yields every name below the root exactly once, in the byte order of the paths (as
// `LC_ALL=C sort` orders them). The empty lost+found that mkfs makes in the root of ext2,
// ext3 and ext4 is not yielded. An error ends the walk; it comes with a node without a
// path, and names the path.
func Walk(ctx context.Context, root Reader, o Options) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		w := walker{Options: o, ctx: ctx, yield: yield, seen: map[inode]bool{}, mounted: map[string]bool{}}
		if err := w.walk(root); err != nil {
			yield(Node{}, err)
		}
	}
}

// inode identifies an inode among those of several file systems.
type inode struct {
	reader Reader
	id     ID
}

type walker struct {
	Options

	ctx     context.Context //nolint:containedctx // a walker lives only for one call
	yield   func(Node, error) bool
	levels  []level
	pending int // bytes of the steps in levels
	dirs    int
	names   int
	content int64
	seen    map[inode]bool // directories, and files with several names
	mounted map[string]bool
}

// level is a directory with remaining steps.
type level struct {
	path  string // with a slash at the end; "" for the root
	steps []step
}

// step is something to do in a directory: to yield a name, or to enter it.
type step struct {
	Dirent
	Inode

	reader Reader
	enter  bool
}

// bytes estimates the memory that a step takes.
func (s *step) bytes() int { return int(unsafe.Sizeof(*s)) + len(s.Name) }

// compare orders steps so that all paths are in byte order: "a", "a-b", "a/x".
func (s *step) compare(o *step) int {
	n := min(len(s.Name), len(o.Name))
	if c := strings.Compare(s.Name[:n], o.Name[:n]); c != 0 {
		return c
	}
	return cmp.Compare(s.at(n), o.at(n))
}

func (s *step) at(i int) int {
	switch {
	case i < len(s.Name):
		return int(s.Name[i])
	case s.enter:
		return '/'
	}
	return -1
}

func (w *walker) walk(root Reader) error {
	if err := w.enter("", root, root.Root()); err != nil {
		return err
	}
	for len(w.levels) > 0 {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if more, err := w.step(); err != nil || !more {
			return err
		}
	}
	for path := range w.Mounts {
		if !w.mounted[path] {
			return fmt.Errorf("%s: %w", quote.Name("/"+path), ErrNoMountPoint)
		}
	}
	return nil
}

// step takes the next step, and reports whether the walk continues.
func (w *walker) step() (more bool, err error) {
	here := &w.levels[len(w.levels)-1]
	path, s := here.path+here.steps[0].Name, here.steps[0]
	here.steps[0] = step{} // release the name
	w.pending -= s.bytes()
	if here.steps = here.steps[1:]; len(here.steps) == 0 {
		w.levels = w.levels[:len(w.levels)-1]
	}
	if len(path) > maxPath {
		return false, fmt.Errorf("%w: a path of %d bytes", ErrLimit, len(path))
	}
	if s.enter {
		return true, w.enter(path+"/", s.reader, s.ID)
	}
	if err := w.count(&s); err != nil {
		return false, named(path, err)
	}
	return w.yield(Node{Path: path, Inode: s.Inode, Reader: s.reader, ID: s.ID}, nil), nil
}

// count adds up the content of files, each inode once.
func (w *walker) count(s *step) error {
	if !s.Mode.IsRegular() || s.Links > 1 && !w.first(s.reader, s.ID) {
		return nil
	}
	if w.content += s.Size; w.MaxContent > 0 && (w.content > w.MaxContent || w.content < 0) {
		return fmt.Errorf("%w: files with more than %d bytes of content", ErrContent, w.MaxContent)
	}
	return nil
}

// first reports whether an inode is met for the first time.
func (w *walker) first(r Reader, id ID) bool {
	key := inode{r, id}
	before := w.seen[key]
	w.seen[key] = true
	return !before
}

// enter reads a directory. path has a slash at the end, except that of the root.
func (w *walker) enter(path string, r Reader, id ID) error {
	name := strings.TrimSuffix(path, "/")
	if !w.first(r, id) {
		return named(name, Corrupt("it is a directory with several names"))
	}
	if w.dirs++; w.dirs > maxDirectories {
		return fmt.Errorf("%w: more than %d directories", ErrLimit, maxDirectories)
	}
	steps, err := w.list(path, r, id)
	if err != nil {
		return named(name, err)
	}
	if len(steps) > 0 {
		w.levels = append(w.levels, level{path, steps})
	}
	return nil
}

// list returns the steps of one directory, in order.
func (w *walker) list(path string, r Reader, dir ID) ([]step, error) {
	var steps []step
	add := func(s step) error {
		if w.pending += s.bytes(); w.pending > maxPending {
			return fmt.Errorf("%w: directories with too many names", ErrLimit)
		}
		steps = append(steps, s)
		return nil
	}
	err := r.ReadDir(dir, func(d Dirent) error {
		if w.names++; w.names > cmp.Or(w.MaxNames, maxNames) {
			return fmt.Errorf("%w: more than %d names", ErrLimit, cmp.Or(w.MaxNames, maxNames))
		}
		if err := check(d.Name); err != nil {
			return err
		}
		s := step{Dirent: d, reader: r}
		err := w.examine(path, &s)
		if err != nil {
			return fmt.Errorf("%s: %w", quote.Name(d.Name), err)
		}
		if s.Name == "lost+found" && dir == r.Root() {
			if made, err := w.madeByMkfs(path, &s); made || err != nil {
				return err
			}
		}
		if err := add(s); err != nil || !s.Mode.IsDir() {
			return err
		}
		s.enter = true
		return add(s)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(steps, func(a, b step) int { return a.compare(&b) })
	for i := 1; i < len(steps); i++ {
		if steps[i].Name == steps[i-1].Name && steps[i].enter == steps[i-1].enter {
			return nil, Corrupt("the name %s repeats", quote.Name(steps[i].Name))
		}
	}
	return steps, nil
}

// examine decodes the inode of a step. For a mount point, it is that of the mounted root.
func (w *walker) examine(path string, s *step) (err error) {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if s.Inode, err = s.reader.Inode(s.ID); err != nil {
		return err
	}
	if s.UID == nobody || s.GID == nobody {
		return Corrupt("it belongs to user %d and group %d", s.UID, s.GID)
	}
	if !s.Mode.IsDir() {
		return nil
	}
	mounted := w.Mounts[path+s.Name]
	if mounted == nil {
		return nil
	}
	w.mounted[path+s.Name] = true
	s.reader, s.ID = mounted, mounted.Root()
	s.Inode, err = mounted.Inode(s.ID)
	return err
}

// madeByMkfs reports whether a directory is the empty lost+found that no tree has.
func (w *walker) madeByMkfs(path string, s *step) (bool, error) {
	switch {
	case !strings.HasPrefix(s.reader.Facts().Type, "ext"), s.Mode != fs.ModeDir|0o700, s.UID != 0, s.GID != 0:
		return false, nil
	case w.Lists != nil && w.Lists(path+s.Name):
		return false, nil
	}
	err := s.reader.ReadDir(s.ID, func(Dirent) error { return errNotEmpty })
	if errors.Is(err, errNotEmpty) {
		return false, nil
	}
	return err == nil, err
}

var errNotEmpty = errors.New("not empty")

// check refuses names that no kernel makes.
func check(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return Corrupt("a file is named %s", quote.Name(name))
	case len(name) > maxName:
		return Corrupt("a name of %d bytes", len(name))
	}
	return nil
}

// named adds the path to an error, which is that of the root if it is "".
func named(path string, err error) error {
	if path == "" {
		path = "/"
	}
	return fmt.Errorf("%s: %w", quote.Name(path), err)
}
