package tree

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Walk yields every name below the root exactly once, in the byte order of the paths (as
// `LC_ALL=C sort` orders them).
//
// If a name cannot be examined, Walk yields a node that has only a path, and the error. A
// directory that cannot be read yields its node first, then a node that has only a path, and
// the error. The walk continues in either case. If the context is cancelled, Walk yields its
// cause with a node without a path, and ends.
func (t *Tree) Walk(ctx context.Context) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		st, err := StampOf(t.root)
		if err != nil {
			yield(Node{}, err)
			return
		}
		w := walker{tree: t, ctx: ctx, yield: yield}
		if !w.enter("", st) {
			return
		}
		for len(w.levels) > 0 && w.step() {
		}
	}
}

// walker is one walk. It keeps only the remaining steps of each directory that it is in, so
// time and memory are proportional to the number of names, at any depth.
type walker struct {
	tree   *Tree
	ctx    context.Context //nolint:containedctx // a walker lives only for one call
	yield  func(Node, error) bool
	levels []level // from the root down to the current directory
	paths  paths
}

// level is a directory with remaining steps.
type level struct {
	path  string // with a slash at the end; "" for the root
	steps []step
}

// paths makes paths that share memory: the paths of a chain of directories take no more
// memory than the last of them.
type paths struct{ b *strings.Builder }

// join returns prefix + name. If prefix is the last result, both share memory.
func (p *paths) join(prefix, name string) string {
	now := ""
	if p.b != nil {
		now = p.b.String()
	}
	switch {
	case len(now) == len(prefix)+len(name) && now[:len(prefix)] == prefix && now[len(prefix):] == name:
		return now
	case p.b == nil || now != prefix:
		p.b = &strings.Builder{}
		p.b.Grow(len(prefix) + len(name) + 1)
		p.b.WriteString(prefix)
	}
	p.b.WriteString(name)
	return p.b.String()
}

// step is something to do in a directory: to yield a child, or to enter it.
type step struct {
	name  string
	node  Node // without a path
	err   error
	enter bool
}

// compare orders steps so that all paths are in byte order: "a", "a-b", "a/x". Therefore the
// step that enters a directory is ordered by the directory's name with a slash.
func (s *step) compare(o *step) int {
	n := min(len(s.name), len(o.name))
	if c := strings.Compare(s.name[:n], o.name[:n]); c != 0 {
		return c
	}
	return cmp.Compare(s.at(n), o.at(n))
}

// leads reports whether the step is about a directory that the walk enters.
func (s *step) leads() bool { return s.err == nil && s.node.Mode.IsDir() && !s.node.MountPoint }

func (s *step) at(i int) int {
	switch {
	case i < len(s.name):
		return int(s.name[i])
	case s.enter:
		return '/'
	}
	return -1
}

// enter reads a directory and reports whether the walk continues. path has a slash at the
// end.
func (w *walker) enter(path string, dir Stamp) bool {
	steps, err := w.list(path, dir)
	if w.ctx.Err() != nil {
		return w.cancelled()
	}
	if err != nil {
		return w.yield(Node{Path: strings.TrimSuffix(path, "/")}, err)
	}
	if len(steps) > 0 {
		w.levels = append(w.levels, level{path, steps})
	}
	return true
}

// step takes the next step, and reports whether the walk continues. It removes a directory
// from levels before the directory's last step.
func (w *walker) step() bool {
	if w.ctx.Err() != nil {
		return w.cancelled()
	}
	here := &w.levels[len(w.levels)-1]
	path, s := here.path, here.steps[0]
	here.steps[0] = step{} // release the name
	if here.steps = here.steps[1:]; len(here.steps) == 0 {
		*here = level{}
		w.levels = w.levels[:len(w.levels)-1]
	}
	switch {
	case s.enter:
		return w.enter(w.paths.join(w.paths.join(path, s.name), "/"), s.node.Stamp)
	case s.leads():
		s.node.Path = w.paths.join(path, s.name)
	default:
		s.node.Path = path + s.name
	}
	return w.yield(s.node, s.err)
}

func (w *walker) cancelled() bool {
	w.yield(Node{}, context.Cause(w.ctx))
	return false
}

// list reads one directory and closes it, so that deep trees need no more descriptors.
func (w *walker) list(path string, dir Stamp) ([]step, error) {
	f, err := w.open(strings.TrimSuffix(path, "/"), dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, w.named(path, err)
	}
	steps := make([]step, 0, len(names)+len(names)/4)
	for _, name := range names {
		if w.ctx.Err() != nil {
			return nil, nil
		}
		steps = append(steps, w.examine(int(f.Fd()), dir, path, name))
	}
	w.pretend(path, names, steps)
	for _, s := range steps {
		if s.leads() {
			s.enter = true
			steps = append(steps, s)
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return a.compare(&b) })
	return steps, nil
}

func (w *walker) examine(fd int, dir Stamp, path, name string) step {
	node, err := w.tree.stat(fd, name)
	if err != nil {
		return step{name: name, err: &os.PathError{Op: "stat", Path: w.tree.Name(path + name), Err: err}}
	}
	node.MountPoint = !w.tree.opts.CrossMounts && w.tree.isMountPoint(&node, dir.Dev, func() string { return path + name })
	return step{name: name, node: node}
}

// open opens a directory for reading its names and checks that it is the directory with the
// stamp dir. The file has no name, because making one takes time proportional to the length
// of the path.
func (w *walker) open(path string, dir Stamp) (*os.File, error) {
	if path == "" {
		path = "."
	}
	fd, err := w.tree.openFor(path, readFlags|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	now, err := StampOf(f)
	switch {
	case err != nil:
		err = w.named(path, err)
	case !now.SameInode(dir):
		err = &os.PathError{Op: "read directory", Path: w.tree.Name(path), Err: ErrChanged}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// named adds the path to an error about a file that has no name.
func (w *walker) named(path string, err error) error {
	var failed *os.PathError
	if path = strings.TrimSuffix(path, "/"); path == "" {
		path = "."
	}
	if errors.As(err, &failed) {
		failed.Path = w.tree.Name(path)
	}
	return err
}
