package rootfs

import (
	"fmt"
	"path"
	"strings"
)

// patterns is a list in the manner of .gitignore: the last pattern that matches a
// path decides.
//
//	*.conf          any file or directory of that name pattern, at any depth
//	/etc            that file, or that directory and all below it
//	etc/*.conf      a slash inside anchors to the tree's root, as one at the start does
//	/var/lib/**     all below; ** stands for any number of directories
//	cache/          all below a directory called cache, not a file of that name
//	/usr/{bin,sbin} alternatives, each as if it were written out
//	!/etc/passwd    takes back what patterns before it matched; \! is a plain "!"
//
// * and ? and [a-z] match no slash. What is written plainly matches the same bytes
// in the tree's path; ? and [a-z] match one character of UTF-8, or one byte of a
// name that is not UTF-8. Symbolic links are unknown here: /lib/** matches nothing
// in a tree where /lib is a link to usr/lib.
type patterns []*pattern

type pattern struct {
	flag, text string
	negated    bool
	globs      []glob // the alternatives
}

func compile(flag string, texts []string) (patterns, error) {
	var list patterns
	for _, text := range texts {
		p := &pattern{flag: flag, text: text}
		body, negated := strings.CutPrefix(text, "!")
		p.negated = negated
		if strings.HasPrefix(body, `\!`) {
			body = body[1:]
		}
		alternatives, err := expand(body)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", flag, text, err)
		}
		for _, alternative := range alternatives {
			g, err := newGlob(alternative)
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", flag, text, err)
			}
			p.globs = append(p.globs, g)
		}
		list = append(list, p)
	}
	return list, nil
}

// decide returns the pattern that decides about a path given by its names, nil
// for none. It marks in hits every pattern that matches.
func (list patterns) decide(names []string, hits map[*pattern]bool) *pattern {
	var last *pattern
	for _, p := range list {
		if p.matches(names) {
			hits[p] = true
			last = p
		}
	}
	if last == nil || last.negated {
		return nil
	}
	return last
}

func (p *pattern) matches(names []string) bool {
	for i := range p.globs {
		if p.globs[i].matches(names) {
			return true
		}
	}
	return false
}

// glob is a pattern without alternatives. It matches a path when its names match
// the path's first ones, so that a directory stands for all that is below it.
type glob struct {
	names []string // "**" for any number of names, or what path.Match takes
	below bool     // the path has to go on behind what names match
}

const anyNames = "**"

func newGlob(text string) (glob, error) {
	text, below := strings.CutSuffix(text, "/")
	anchored := strings.Contains(text, "/")
	text = strings.TrimPrefix(text, "/")
	if text == "" {
		return glob{}, ErrPattern
	}
	g := glob{names: strings.Split(text, "/"), below: below}
	if !anchored {
		g.names = append([]string{anyNames}, g.names...)
	}
	// "x/**" is what is below x: the end of a path matches no "**".
	for len(g.names) > 0 && g.names[len(g.names)-1] == anyNames {
		g.names, g.below = g.names[:len(g.names)-1], true
	}
	for _, name := range g.names {
		if _, err := path.Match(name, ""); err != nil || name == "" {
			return glob{}, ErrPattern
		}
	}
	return g, nil
}

// matches goes back to the last "**" alone when a name does not match: where the
// names before it match earliest, the rest has the most room. That makes the time
// at worst the product of both lengths.
func (g *glob) matches(names []string) bool {
	at, again, resume := 0, -1, 0 // again: index behind the last "**"; resume: where in names
	for i := 0; i < len(g.names); {
		switch {
		case g.names[i] == anyNames:
			i++
			again, resume = i, at
		case at >= len(names):
			return false // what starts later has less room still
		case matchName(g.names[i], names[at]):
			i, at = i+1, at+1
		case again >= 0:
			resume++
			i, at = again, resume
		default:
			return false
		}
	}
	return !g.below || at < len(names)
}

func matchName(pattern, name string) bool {
	matched, _ := path.Match(pattern, name) // newGlob saw that it is well-formed
	return matched
}
