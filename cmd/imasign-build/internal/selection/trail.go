package selection

import (
	"sort"
	"strings"
)

// trail matches the paths of one listing, in any order. It remembers how far every glob
// has matched in the directories that it met. Therefore the time that a path takes does
// not grow with its depth.
type trail struct {
	globs []*glob
	dirs  map[string][]reached // by path with a trailing slash, "" for the root; all parents are in it
	size  int                  // of dirs, in bytes, approximately
	now   map[*glob]bool
}

// maxTrail bounds what a trail remembers, in bytes.
const maxTrail = 16 << 20

func newTrail(lists ...patterns) *trail {
	t := &trail{now: map[*glob]bool{}}
	for _, list := range lists {
		for _, p := range list {
			for i := range p.globs {
				t.globs = append(t.globs, &p.globs[i])
			}
		}
	}
	t.forget()
	return t
}

func (t *trail) forget() {
	root := make([]reached, len(t.globs))
	for i, g := range t.globs {
		root[i] = g.start()
	}
	t.dirs, t.size = map[string][]reached{"": root}, 0
}

// follow goes to a path, relative and slash-separated. Later calls of matches are about
// this path.
func (t *trail) follow(path string) {
	if len(t.globs) == 0 {
		return
	}
	slash := strings.LastIndexByte(path, '/')
	here, name := t.enter(path[:slash+1]), path[slash+1:]
	for i, g := range t.globs {
		t.now[g] = here[i].done || !g.below && g.step(here[i], name).done
	}
}

func (t *trail) matches(g *glob) bool { return t.now[g] }

// enter returns how far the globs have matched in a directory, which is "" or ends in a
// slash.
func (t *trail) enter(dir string) []reached {
	here, known := t.dirs[dir]
	if known {
		return here
	}
	if t.size > maxTrail {
		t.forget()
	}
	at := t.deepest(dir)
	here = t.dirs[dir[:at]]
	t.size += len(dir)
	for at < len(dir) {
		name, _, _ := strings.Cut(dir[at:], "/")
		below := make([]reached, len(t.globs))
		for i, g := range t.globs {
			below[i] = g.step(here[i], name)
		}
		at, here = at+len(name)+1, below
		t.dirs[dir[:at]] = here
		t.size += 100 + 56*len(t.globs)
	}
	return here
}

// deepest returns the length of the deepest directory above dir that is known. dir is not
// known.
func (t *trail) deepest(dir string) int {
	parent := strings.LastIndexByte(dir[:len(dir)-1], '/') + 1
	if _, known := t.dirs[dir[:parent]]; known {
		return parent
	}
	ends := []int{0}
	for i := range len(dir) {
		if dir[i] == '/' {
			ends = append(ends, i+1)
		}
	}
	unknown := sort.Search(len(ends), func(i int) bool {
		_, known := t.dirs[dir[:ends[i]]]
		return !known
	})
	return ends[unknown-1]
}
