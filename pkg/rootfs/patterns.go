package rootfs

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// patterns is a list in the manner of .gitignore: the last pattern that matches a
// path decides.
//
//	*.conf          any file or directory of that name pattern, at any depth
//	/etc            that file, or that directory and all below it
//	etc/*.conf      a slash inside anchors to the tree's root, as one at the start does
//	/var/lib/**     all below; ** stands for any number of directories
//	cache/          all below a directory called cache, not a file of that name
//	/usr/{bin,sbin} alternatives
//	!/etc/passwd    takes back what patterns before it matched; \! is a plain "!"
//
// * and ? and [a-z] match no slash. Matching is by bytes of the path as the tree
// has it, and knows no symbolic links: /lib/** matches nothing in a tree where
// /lib is a link to usr/lib.
type patterns []*pattern

type pattern struct {
	flag, text string
	negated    bool
	glob       string
	hits       int64
}

func compile(flag string, texts []string) (patterns, error) {
	var list patterns
	for _, text := range texts {
		p := &pattern{flag: flag, text: text}
		glob, negated := strings.CutPrefix(text, "!")
		p.negated = negated
		if strings.HasPrefix(glob, `\!`) {
			glob = glob[1:]
		}
		glob, below := strings.CutSuffix(glob, "/")
		anchored := strings.Contains(glob, "/")
		glob = strings.TrimPrefix(glob, "/")
		if glob == "" || !doublestar.ValidatePattern(glob) {
			return nil, fmt.Errorf("%s %q: %w", flag, text, ErrPattern)
		}
		if !anchored {
			glob = "**/" + glob
		}
		// "x/**" matches x itself as well, "x/**/*" only what is below.
		p.glob = strings.TrimSuffix(glob, "/**") + "/**"
		if below || strings.HasSuffix(glob, "/**") {
			p.glob += "/*"
		}
		list = append(list, p)
	}
	return list, nil
}

// match returns the pattern that decides about path, nil for none. It counts, for
// unmatched, every pattern that matches.
func (list patterns) match(path string) *pattern {
	var last *pattern
	for _, p := range list {
		if doublestar.MatchUnvalidated(p.glob, path) {
			p.hits++
			last = p
		}
	}
	if last == nil || last.negated {
		return nil
	}
	return last
}

// unmatched returns the patterns that matched nothing.
func (list patterns) unmatched() []*pattern {
	var out []*pattern
	for _, p := range list {
		if p.hits == 0 {
			out = append(out, p)
		}
	}
	return out
}
