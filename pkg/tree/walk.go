package tree

import (
	"cmp"
	"context"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Walk yields every name below the root, each exactly once, in the byte order of
// the paths (what `LC_ALL=C sort` makes of them). What cannot be examined yields
// a node with its path alone and an error, and so does, after its node, a
// directory that cannot be read; the walk goes on, and what a caller does with a
// partial tree is its decision. A cancelled context ends the walk with its error
// and a node without a path.
func (t *Tree) Walk(ctx context.Context) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		st, err := StampOf(t.root)
		if err != nil {
			yield(Node{}, err)
			return
		}
		w := walker{tree: t, ctx: ctx, yield: yield}
		w.walk(st)
	}
}

// walker is one walk. It keeps one path, of the directory that it is in: a deep
// tree with a path a level would take memory by the square of its depth.
type walker struct {
	tree  *Tree
	ctx   context.Context //nolint:containedctx // of one call, not of an object that stays
	yield func(Node, error) bool
	path  []byte // of the directory, with a slash behind it; empty for the root
}

// step is one thing to do in a directory: to yield a child, or to enter it.
type step struct {
	name  string
	node  Node // without its path
	err   error
	enter bool
}

// compare orders steps so that all paths come in byte order: "a", "a-b", "a/x".
// To that end entering a directory sorts by its name with a slash.
func (s *step) compare(o *step) int {
	n := min(len(s.name), len(o.name))
	if c := strings.Compare(s.name[:n], o.name[:n]); c != 0 {
		return c
	}
	return cmp.Compare(s.at(n), o.at(n))
}

func (s *step) at(i int) int {
	switch {
	case i < len(s.name):
		return int(s.name[i])
	case s.enter:
		return '/'
	}
	return -1
}

// walk yields what is below the directory that w.path names, and reports whether
// the walk goes on.
func (w *walker) walk(dir Stamp) bool {
	steps, err := w.list(dir)
	if w.ctx.Err() != nil {
		return w.cancelled()
	}
	if err != nil {
		return w.yield(Node{Path: strings.TrimSuffix(string(w.path), "/")}, err)
	}
	for i := range steps {
		s := steps[i]
		steps[i] = step{} // a wide tree's names need not outlive their turn
		if w.ctx.Err() != nil {
			return w.cancelled()
		}
		if !w.take(&s) {
			return false
		}
	}
	return true
}

func (w *walker) cancelled() bool {
	w.yield(Node{}, context.Cause(w.ctx))
	return false
}

func (w *walker) take(s *step) bool {
	if !s.enter {
		s.node.Path = w.join(s.name)
		return w.yield(s.node, s.err)
	}
	here := len(w.path)
	w.path = append(append(w.path, s.name...), '/')
	goesOn := w.walk(s.node.Stamp)
	w.path = w.path[:here]
	return goesOn
}

func (w *walker) join(name string) string { return string(w.path) + name }

// list reads one directory and closes it again, so that depth costs no descriptors.
func (w *walker) list(dir Stamp) ([]step, error) {
	f, err := w.open(dir)
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
		if w.ctx.Err() != nil {
			return nil, nil
		}
		steps = append(steps, w.examine(int(f.Fd()), dir, name))
	}
	w.pretend(names, steps)
	for _, s := range steps {
		if s.err == nil && s.node.Mode.IsDir() && !s.node.MountPoint {
			s.enter = true
			steps = append(steps, s)
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return a.compare(&b) })
	return steps, nil
}

func (w *walker) examine(fd int, dir Stamp, name string) step {
	node, err := w.tree.stat(fd, name)
	if err != nil {
		return step{name: name, err: &os.PathError{Op: "stat", Path: w.tree.Name(w.join(name)), Err: err}}
	}
	node.MountPoint = !w.tree.opts.CrossMounts && w.tree.isMountPoint(&node, dir.Dev, func() string { return w.join(name) })
	return step{name: name, node: node}
}

// open opens the directory that w.path names for reading its names and holds that
// it is the one that the walk met.
func (w *walker) open(dir Stamp) (*os.File, error) {
	path := "."
	if len(w.path) > 0 {
		path = string(w.path[:len(w.path)-1])
	}
	f, err := w.tree.open(path, readFlags|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	now, err := StampOf(f)
	if err == nil && !now.SameInode(dir) {
		err = &os.PathError{Op: "read directory", Path: w.tree.Name(path), Err: ErrChanged}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
