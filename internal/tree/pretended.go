package tree

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/libc"
	"github.com/imasign/imasign-build/internal/stmode"
)

// pretended reads and changes metadata through the C library, and so through a preloaded
// pseudo or fakeroot. The C library is asked by absolute path. To stay in the tree, each
// answer must be about the inode that the kernel reached through the tree's root.
type pretended struct {
	t   *Tree
	dir string // absolute path of the root, without links; "" for /
}

// openPretended asks the kernel for the path of the root, and checks that the C library finds
// the same directory there.
func openPretended(t *Tree) (*pretended, error) {
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(t.root.Fd())))
	if err != nil {
		return nil, fmt.Errorf("open tree %s: find its absolute path: %w", t.dir, err)
	}
	now, err := StampOf(t.root)
	if err != nil {
		return nil, err
	}
	st, err := libc.Lstat(dir)
	if err == nil && !stampOfLibc(&st).SameInode(now) {
		err = fmt.Errorf("%w: %s leads elsewhere (a pretended chroot?)", ErrChanged, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open tree %s: ask the C library about it: %w", t.dir, err)
	}
	if dir == "/" {
		dir = ""
	}
	return &pretended{t, dir}, nil
}

// absolute returns the absolute path of a path in the tree. "." and "" are the root.
func (p *pretended) absolute(path string) string {
	if path == "." || path == "" {
		if p.dir == "" {
			return "/"
		}
		return p.dir
	}
	return p.dir + "/" + path
}

// at calls use with a path for the C library. It is the absolute path or, if that is too
// long, a path from an open directory on the way. pseudo knows files only by their absolute
// paths: there a path that is too long is an error.
func (p *pretended) at(path string, use func(string) error) error {
	if len(p.dir)+len(path)+2+unix.NAME_MAX < unix.PathMax || p.t.preload == "pseudo" {
		return use(p.absolute(path))
	}
	return p.t.anchors.near(path, func(at int, rest string) error {
		return use("/proc/self/fd/" + strconv.Itoa(at) + "/" + rest)
	})
}

// pretend replaces the kernel's metadata of a directory's names by what a preloaded library
// pretends. Each answer must be about the inode that the kernel named.
func (w *walker) pretend(path string, names []string, steps []step) {
	through := w.tree.through
	if through == nil {
		return
	}
	var stats []libc.Stat
	err := through.at(strings.TrimSuffix(path, "/"), func(dir string) (err error) {
		stats, err = libc.LstatAll(dir, names)
		return err
	})
	for i := range steps {
		s := &steps[i]
		if s.err != nil {
			continue
		}
		if s.err = err; err == nil {
			s.err = s.node.pretend(&stats[i])
		}
		if s.err != nil {
			*s = step{name: s.name, err: &os.PathError{Op: "stat", Path: w.tree.Name(path + s.name), Err: s.err}}
		}
	}
}

func (n *Node) pretend(st *libc.Stat) error {
	if err := st.Err(); err != nil {
		return err
	}
	n.Mode, n.UID, n.GID, n.Links = stmode.FileMode(st.Mode), st.UID, st.GID, st.Nlink
	n.setDevice(unix.Major(st.Rdev), unix.Minor(st.Rdev))
	return n.Stamp.check(stampOfLibc(st), restore)
}

func (p *pretended) pretendRoot(n *Node) error {
	st, err := libc.Lstat(p.absolute(""))
	if err != nil {
		return err
	}
	return n.pretend(&st)
}

func (p *pretended) read(f *os.File, path, prefix string) (map[string][]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	want := stampOf(&st)
	var values map[string][]byte
	var now libc.Stat
	err := p.at(path, func(path string) (err error) {
		values, now, err = libc.Xattrs(path, libcStat(want, st.Mode), prefix)
		return err
	})
	if err != nil {
		return nil, p.failure(path, err, want.Check(stampOfLibc(&now)))
	}
	return values, nil
}

func (p *pretended) change(path string, want Stamp, how how, changes []XattrChange) (int, Stamp, error) {
	list := make([]libc.Change, len(changes))
	for i, c := range changes {
		list[i] = libc.Change{Name: c.Name, Value: c.New, Old: c.Old, Flags: c.flags()}
		if p.t.preload == "pseudo" {
			list[i].Flags = 0 // pseudo does not support flags; package libc compares the values
		}
	}
	var made int
	var now libc.Stat
	err := p.at(path, func(path string) (err error) {
		made, now, err = libc.ChangeXattrs(path, libcStat(want, 0), libc.How{
			AnyState: how == restore, SkipOther: how == restore, Compare: p.t.preload == "pseudo", KeepOwner: p.t.preload == "fakeroot",
		}, list)
		return err
	})
	stamp := stampOfLibc(&now)
	if err != nil {
		err = p.failure(path, err, want.check(stamp, how))
	}
	return made, stamp, err
}

// failure turns an error of internal/libc into one of this package. differs says how the
// file differs from the wanted one.
func (p *pretended) failure(path string, err, differs error) error {
	name := p.t.Name(path)
	var failed *libc.Error
	switch {
	case errors.Is(err, libc.ErrOther):
		return fmt.Errorf("%s: %w", name, differs)
	case !errors.As(err, &failed):
		return fmt.Errorf("%s: %w", name, err)
	case failed.Xattr == "" && failed.Op != libc.OpList:
		return &os.PathError{Op: failed.Op, Path: name, Err: failed.Err}
	}
	return &XattrError{Op: failed.Op, Name: failed.Xattr, Path: name, Size: failed.Size, Err: failed.Err}
}

func stampOfLibc(s *libc.Stat) Stamp {
	return Stamp{Dev: s.Dev, Ino: s.Ino, Size: s.Size, Mtime: s.Mtime, Ctime: s.Ctime}
}

func libcStat(s Stamp, mode uint32) *libc.Stat {
	return &libc.Stat{Dev: s.Dev, Ino: s.Ino, Size: s.Size, Mtime: s.Mtime, Ctime: s.Ctime, Mode: mode}
}
