package selection

import (
	"fmt"
	"path"
	"strings"
	"sync/atomic"
)

// patterns is a list in the manner of .gitignore: the last pattern that matches a
// path decides.
//
//	*.conf          files and directories with such a name, at any depth
//	/etc            that file, or that directory and everything below it
//	etc/*.conf      anchored to the root by the slash inside, as by one at the start
//	/var/lib/**     everything below; ** matches any number of directories
//	cache/          everything below a directory called cache, not a file of that name
//	/usr/{bin,sbin} alternatives, each as if it were written out
//	!/etc/passwd    an exception from the patterns before it; \! is a plain "!"
//
// *, ? and [a-z] match no slash. ? and [a-z] match one character of UTF-8, or one byte
// of a name that is not UTF-8. All other characters match the same bytes in the path of
// the entry. Symbolic links are not followed: /lib/** matches nothing if /lib is a link
// to usr/lib.
type patterns []*pattern

type pattern struct {
	Pattern

	negated bool
	globs   []glob // the alternatives
	hit     atomic.Bool
}

func compile(list List, texts []string) (patterns, error) {
	var compiled patterns
	for _, text := range texts {
		p := &pattern{Pattern: Pattern{list, text}}
		if err := p.compile(); err != nil {
			return nil, &PatternError{p.Pattern, err}
		}
		compiled = append(compiled, p)
	}
	return compiled, nil
}

func (p *pattern) compile() error {
	body, negated := strings.CutPrefix(p.Text, "!")
	p.negated = negated
	if strings.HasPrefix(body, `\!`) {
		body = body[1:]
	}
	alternatives, err := expand(body)
	if err != nil {
		return err
	}
	for _, alternative := range alternatives {
		g, err := newGlob(alternative)
		if err != nil {
			return err
		}
		p.globs = append(p.globs, g)
	}
	return nil
}

// decide returns the pattern that decides about the current path of t, nil for none.
// It tries all patterns, to note which of them match anything.
func (list patterns) decide(t *trail) *pattern {
	var last *pattern
	for _, p := range list {
		if p.matches(t) {
			last = p
			if !p.hit.Load() { // another container's goroutine may read it
				p.hit.Store(true)
			}
		}
	}
	if last == nil || last.negated {
		return nil
	}
	return last
}

func (p *pattern) matches(t *trail) bool {
	for i := range p.globs {
		if t.matches(&p.globs[i]) {
			return true
		}
	}
	return false
}

// glob is a pattern without alternatives. It matches a path if its names match the
// first names of the path: a directory matches everything below it.
type glob struct {
	names []string // patterns of path.Match, or "**" for any number of names
	below bool     // the path must have more names than names match
}

const anyNames = "**"

func newGlob(text string) (glob, error) {
	text, directory := strings.CutSuffix(text, "/")
	anchored := strings.Contains(text, "/")
	text = strings.TrimPrefix(text, "/")
	if text == "" {
		return glob{}, fmt.Errorf("%w: it names nothing", ErrPattern)
	}
	g := glob{names: strings.Split(text, "/"), below: directory}
	if !anchored {
		g.names = append([]string{anyNames}, g.names...)
	}
	// "x/**" matches everything below x, but not x.
	everything := false
	for len(g.names) > 0 && g.names[len(g.names)-1] == anyNames {
		g.names, g.below, everything = g.names[:len(g.names)-1], true, true
	}
	if everything && directory { // "x/**/" matches everything in directories below x
		g.names = append(g.names, anyNames, "*")
	}
	for _, name := range g.names {
		if name == "" {
			return glob{}, fmt.Errorf("%w: two slashes follow each other", ErrPattern)
		}
		if _, err := path.Match(name, ""); err != nil {
			return glob{}, fmt.Errorf("%w: %q is malformed: write a literal [, * or ? with \\ before it", ErrPattern, name)
		}
	}
	return g, nil
}

// reached is how far a glob has matched a path.
type reached struct {
	next []int // indexes of the names that may match the path's next name, in order; one may be behind the last name
	done bool  // all names matched, here or further up
}

func (g *glob) start() reached { return g.arrive([]int{0}) }

// step matches the next name of the path. Its time is proportional to the number of the
// glob's names, however many "**" there are.
func (g *glob) step(r reached, name string) reached {
	if r.done {
		return r
	}
	var next []int
	for _, i := range r.next {
		if g.names[i] == anyNames {
			next = append(next, i)
		} else if matchName(g.names[i], name) {
			next = append(next, i+1)
		}
	}
	return g.arrive(next)
}

// arrive also adds the index behind each "**", which may match no name. The indexes at
// are in order, and may repeat.
func (g *glob) arrive(at []int) reached {
	var r reached
	last := -1
	for _, i := range at {
		for ; i > last; i++ {
			if last = i; i == len(g.names) {
				return reached{done: true}
			}
			if r.next = append(r.next, i); g.names[i] != anyNames {
				break
			}
		}
	}
	return r
}

func matchName(pattern, name string) bool {
	matched, _ := path.Match(pattern, name) // newGlob checked that it is well-formed
	return matched
}
