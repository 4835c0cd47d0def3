package tree

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Walk yields every name below the root, each exactly once, in the byte order of
// the paths (what `LC_ALL=C sort` makes of them). A directory that cannot be
// read yields a node with its path alone and an error, and the walk goes on;
// what a caller does with a partial tree is its decision. A cancelled context
// ends the walk with its error.
func (t *Tree) Walk(ctx context.Context) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		st, err := StampOf(t.root)
		if err != nil {
			yield(Node{}, err)
			return
		}
		t.walk(ctx, Node{Stamp: st}, yield)
	}
}

// step is one thing to do in a directory: to yield a child, or to enter it. The
// key of entering is the child's path with a slash, so that sorting the steps by
// key gives the byte order of all paths: "a", "a-b", "a/x".
type step struct {
	key   string
	node  Node
	err   error
	enter bool
}

func (t *Tree) walk(ctx context.Context, dir Node, yield func(Node, error) bool) bool {
	steps, err := t.list(dir)
	if err != nil {
		return yield(Node{Path: dir.Path}, err)
	}
	for i := range steps {
		s := &steps[i]
		if err := ctx.Err(); err != nil {
			yield(Node{}, context.Cause(ctx))
			return false
		}
		switch {
		case !s.enter:
			if !yield(s.node, s.err) {
				return false
			}
		case !t.walk(ctx, s.node, yield):
			return false
		}
		*s = step{} // a wide tree's names need not outlive their turn
	}
	return true
}

// list reads one directory and closes it again, so that depth costs no descriptors.
func (t *Tree) list(dir Node) ([]step, error) {
	f, err := t.openListing(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	steps := make([]step, 0, len(names)+len(names)/4)
	for _, name := range names {
		path := name
		if dir.Path != "" {
			path = dir.Path + "/" + name
		}
		var st unix.Stat_t
		err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			steps = append(steps, step{key: path, node: Node{Path: path}, err: &os.PathError{Op: "stat", Path: t.Name(path), Err: err}})
			continue
		}
		node := nodeOf(path, &st)
		enter := node.Mode.IsDir()
		if enter && !t.opts.CrossMounts && t.isMountPoint(node, dir.Stamp.Dev) {
			node.MountPoint, enter = true, false
		}
		steps = append(steps, step{key: path, node: node})
		if enter {
			steps = append(steps, step{key: path + "/", node: node, enter: true})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return strings.Compare(a.key, b.key) })
	return steps, nil
}

// isMountPoint sees file systems by their device number, and asks the kernel
// about what a device number does not show: bind mounts.
func (t *Tree) isMountPoint(n Node, parent uint64) bool {
	if n.Stamp.Dev != parent {
		return true
	}
	f, err := t.openDir(n.Path)
	if err != nil {
		return errors.Is(err, ErrMountPoint)
	}
	_ = f.Close()
	return false
}

// openListing opens a directory for reading its names and holds that it is the
// one that the walk met.
func (t *Tree) openListing(dir Node) (*os.File, error) {
	path := dir.Path
	if path == "" {
		path = "."
	}
	f, err := t.openDir(path)
	if err != nil {
		return nil, err
	}
	now, err := StampOf(f)
	if err == nil && !now.SameInode(dir.Stamp) {
		err = &os.PathError{Op: "read directory", Path: t.Name(path), Err: ErrChanged}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
