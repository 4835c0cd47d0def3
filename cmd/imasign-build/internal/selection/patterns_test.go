package selection

import (
	"errors"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// decides reports whether the last pattern that matches takes the path.
func decides(t testing.TB, path string, texts ...string) bool {
	t.Helper()
	list, err := compile(Include, texts)
	if err != nil {
		t.Fatal(err)
	}
	return list.decide(trailTo(list, path)) != nil
}

func trailTo(list patterns, path string) *trail {
	tr := newTrail(list)
	tr.follow(path)
	return tr
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns string // separated by blanks
		yes, no  string
	}{
		// docs/rootfs.md and the comment of patterns, line by line.
		{"*.conf", "a.conf etc/b.conf x/y.conf/z .conf", "a.config etc/conf a.conf~"},
		{"/etc", "etc etc/a etc/a/b", "usr/etc etcetera usr/etc/a"},
		{"etc/ssl/*.pem", "etc/ssl/a.pem etc/ssl/d.pem/x", "usr/etc/ssl/a.pem etc/ssl/sub/a.pem etc/ssl"},
		{"etc/*.conf", "etc/a.conf", "a/etc/a.conf etc/b/a.conf"},
		{"/var/lib/**", "var/lib/a var/lib/a/b", "var/lib var/library usr/var/lib/a"},
		{"cache/", "cache/a var/cache/a var/cache/a/b", "cache var/cache mycache/a"},
		{"/usr/{bin,sbin}", "usr/bin usr/bin/a usr/sbin/b/c", "usr/lib usr/binary bin usr"},
		{"/etc !/etc/passwd", "etc/shadow", "etc/passwd"},
		{"!/etc/passwd /etc", "etc/passwd", "usr"},
		{"/etc !/etc/ssl /etc/ssl/certs", "etc/a etc/ssl/certs/b", "etc/ssl/a"},
		{`\!/etc`, "!/etc", "etc"},
		{`\!x`, "!x a/!x", "x"},
		{`/x !\!x`, "x", "!x"},
		// What they imply.
		{"**", "a a/b", ""},
		{"/**", "a a/b", ""},
		{"*", "a a/b .hidden", ""},
		{"**/x", "x a/x a/b/x a/x/y", "ax a/bx"},
		{"a/**/b", "a/b a/x/b a/x/y/b a/x/b/c", "a ab b/a x/a/b"},
		{"a/**/b/**/c", "a/b/c a/b/x/b/c a/x/b/y/c/z", "a/c/b a/b a/c"},
		{"a/**/", "a/x/y a/x/y/z", "a a/x"},
		{"**/", "a/x a/x/y", "a"},
		{"/cache/", "cache/x", "cache x/cache/y"},
		{"a/*/c", "a/b/c", "a/c a/b/d/c"},
		{"a**b", "ab axxb x/ab", "a/b"},
		{"?", "a é", "ab"},
		{"a?c", "abc", "a/c ac"},
		{"[a-c]x", "ax cx", "dx x"},
		{"[!a]x", "bx", "ax x"},
		{"[^a]x", "bx", "ax"},
		{"etc[!x]passwd", "etc-passwd", "etc/passwd"}, // no class matches a slash
		{"etc[+-9]passwd", "etc.passwd", "etc/passwd"},
		{`\*`, "* a/*", "a"},
		{`\{a,b\}`, "{a,b}", "a b"},
		{"[{,}]", "{ , }", "a"},
		{"{a,b/c}", "a x/a b/c", "c x/b/c"}, // each as if it were written out
		{"{/a,b}{,.x}", "a a.x b b.x z/b", "z/a x"},
		{"x{1,{2,3}y}z", "x1z x2yz x3yz", "x2z x1yz"},
		{"a,b", "a,b", "a b"},
		{"ä*", "äx", "ax"},
		// Bytes that are not UTF-8 match the same bytes.
		{"\xff", "\xff a/\xff", "\xfe \xef\xbf\xbd"},
		{"\xef\xbf\xbd", "\xef\xbf\xbd", "\xff"},
		{"a?c", "a\xffc", "a\xff\xfec"},
		{"a*c", "a\xff\xfe\nc", ""},
		{"x\ny", "x\ny", "x y"},
	} {
		texts := strings.Split(c.patterns, " ")
		for _, p := range strings.Fields(c.yes) {
			if strings.Contains(c.yes, "\n") {
				p = c.yes
			}
			if !decides(t, p, texts...) {
				t.Errorf("%q does not match %q", texts, p)
			}
		}
		for _, p := range strings.Fields(c.no) {
			if decides(t, p, texts...) {
				t.Errorf("%q matches %q", texts, p)
			}
		}
	}
}

func TestPatternsRefused(t *testing.T) {
	for _, text := range []string{
		"", "/", "//", "!", "!/", "a//b", "[", "[a", "[]", "a[b/c]d", `\`, `a\`, `a\/b`, "{a", "a}", "{a,{b}", "[-a]", "{a,}", "[\xff]", "[[:digit:]]", "[a[:alpha:]]",
		strings.Repeat("{a,b}", 10), strings.Repeat("{", 100000), strings.Repeat("{a,a}", 5000), "{" + strings.Repeat("a,", 5000) + "a}",
		strings.Repeat("x", 3000) + strings.Repeat("{a,b}", 9), "{" + strings.Repeat("a,", 900) + "a}" + strings.Repeat("{x}", 50_000),
	} {
		_, err := compile(Exclude, []string{"fine", text})
		if !errors.Is(err, ErrPattern) || !strings.HasPrefix(err.Error(), "exclude ") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// Each of these would take exponential time if matching tried every way to spread the
// name over the pattern.
func TestPatternsHostile(t *testing.T) {
	as := strings.Repeat("a", 100)
	for _, text := range []string{
		strings.Repeat("*a", 100) + "b", strings.Repeat("*{a,aa}", 9) + "b", strings.Repeat("**/a/", 100) + "b",
		strings.Repeat("**/", 100) + "b", strings.Repeat("**/*a*/", 100) + "b", strings.Repeat("?*", 100) + "b",
	} {
		if decides(t, as+strings.Repeat("/"+as, 100), text) {
			t.Errorf("%.20q matches", text)
		}
	}
}

// TestTrail checks that the match of a path does not depend on the paths before it.
func TestTrail(t *testing.T) {
	list, err := compile(Include, []string{"a/**/b", "/a/b/", "x", "**/b/c", "a*/", "!a/b/c/d"})
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrail(list)
	for _, path := range []string{
		"a", "a-b", "a-b/c", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b/x", "a/bb", "a/bb/b", "a/x/y/z/b", "aa", "aa/b", "b", "b/c", "x/b/c", "a/b/c", "a", "a/b/c/d/e/f/b", "x",
	} {
		tr.follow(path)
		alone := trailTo(list, path)
		for _, g := range tr.globs {
			if got := tr.matches(g); got != alone.matches(g) || got != exhaustive(g, strings.Split(path, "/")) {
				t.Errorf("%+v on %q: %v", g, path, got)
			}
		}
	}
}

// TestTrailOfADeepTree checks that each further path takes one more name to match, at any
// depth.
func TestTrailOfADeepTree(t *testing.T) {
	list, err := compile(Include, []string{"*.conf", "d/**/e", "/d/d/x/"})
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrail(list)
	whole := strings.Repeat("d/", 20_000) // quadratic matching takes minutes
	for i := range 20_000 {
		if tr.follow(strings.Clone(whole[:2*i+1])); list.decide(tr) != nil || tr.size > maxTrail+1<<24 {
			t.Fatalf("level %d: it remembers %d directories", i, len(tr.dirs))
		}
	}
	if tr.follow(whole + "e"); list.decide(tr) == nil {
		t.Error("the bottom is not matched")
	}
}

// TestTrailInAnyOrder lists paths in orders that archives and packages may have:
// children before their parents, and two directories in turn.
func TestTrailInAnyOrder(t *testing.T) {
	list, err := compile(Include, []string{"*.conf", "/a/**/e", "/b/b/", "!b/b/b/b"})
	if err != nil {
		t.Fatal(err)
	}
	const depth = 4_000 // quadratic matching takes ten seconds
	arms := []string{strings.Repeat("a/", depth), strings.Repeat("b/", depth), strings.Repeat("a/", depth/2) + strings.Repeat("e/", depth/2)}
	var up, turns, mixed []string
	for i := range depth {
		up = append(up, arms[0][:2*(depth-i)-1])
		turns = append(turns, arms[0][:2*i+1], arms[1][:2*i+1])
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(depth) {
		mixed = append(mixed, arms[i%3][:2*i+1])
	}
	for name, paths := range map[string][]string{"up": up, "turns": turns, "mixed": mixed} {
		tr := newTrail(list)
		for i, path := range paths {
			got := func() *pattern { tr.follow(path); return list.decide(tr) }()
			if i%500 == 0 && got != list.decide(trailTo(list, path)) {
				t.Errorf("%s: path %d is decided by %v", name, i, got)
			}
		}
	}
}

func FuzzPatterns(f *testing.F) {
	for _, seed := range [][2]string{
		{"*.conf", "etc/a.conf"}, {"a/**/b/**/c/", "a/b/x/b/c/d"}, {"!{a,b{c,d}}[!x]", "bcd"}, {`\!\{[a-z]?**`, "!{ab"}, {"**/x/**", "x/x"},
		{"**/a/0000", "/a/b/"}, {"\xff/*", "\xff/\xfe"}, {"{a,b}/**/{c,d}", "a/x/c"}, {"**/a/*/b/**/b", "a/a/b/b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		list, err := compile(Include, []string{text})
		if err != nil {
			if !errors.Is(err, ErrPattern) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		names := strings.Split(name, "/")
		if len(text)+len(name) > 2000 {
			list.decide(trailTo(list, name))
			return // exhaustive takes quadratic time
		}
		tr := trailTo(list, name)
		for i := range list[0].globs {
			g := &list[0].globs[i]
			if got, want := tr.matches(g), exhaustive(g, names); got != want {
				t.Errorf("%+v of %q on %q: %v, trying everything %v", g, text, name, got, want)
			}
		}
	})
}

// exhaustive matches a glob by trying everything.
func exhaustive(g *glob, names []string) bool {
	type place struct{ i, at int }
	known := map[place]bool{}
	var try func(p place) bool
	try = func(p place) (yes bool) {
		if yes, ok := known[p]; ok {
			return yes
		}
		defer func() { known[p] = yes }()
		switch {
		case p.i == len(g.names):
			return !g.below || p.at < len(names)
		case g.names[p.i] == "**":
			return try(place{p.i + 1, p.at}) || p.at < len(names) && try(place{p.i, p.at + 1})
		case p.at == len(names):
			return false
		}
		matched, _ := path.Match(g.names[p.i], names[p.at])
		return matched && try(place{p.i + 1, p.at + 1})
	}
	return try(place{})
}
