package cache

import (
	"path/filepath"
	"testing"
)

// TestIdenticalBuilds builds trees and archives twice with a key whose signatures differ each
// time. The archived manifest of one build makes another one byte-identical, without a cache
// and without the token. Processes that build at the same time with one cache agree.
func TestIdenticalBuilds(t *testing.T) {
	l := newLab(t)
	l.cache = "none"
	dir := tree(t, l.path("input"), contents)
	pack(l, l.path("input.tar"), dir)
	args := map[string]func(out string, flags ...string) []string{
		"tree": func(out string, flags ...string) []string {
			return append([]string{"rootfs", "sign", tree(t, out, contents)}, flags...)
		},
		"archive": func(out string, flags ...string) []string {
			return append([]string{"tar", "sign", l.path("input.tar"), "-o", out}, flags...)
		},
	}
	for name, args := range args {
		t.Run(name, func(t *testing.T) {
			l, at := l.is(t), func(n string) string { return l.path(name + n) }
			manifests := l.path(name + " manifests")
			mkdir(t, manifests)
			l.sign(args(at("1"), "--manifest", filepath.Join(manifests, "1.jsonl"))...)
			first := state(t, at("1"))
			if s, calls := l.sign(args(at("2"))...); s.Cached != 0 || calls != contents || state(t, at("2")) == first {
				t.Errorf("%+v, the token made %d: with neither cache nor manifest, builds should differ", s, calls)
			}
			for i, from := range []string{manifests, filepath.Join(manifests, "1.jsonl")} {
				out := at("3" + string(rune('a'+i)))
				if s, calls := l.sign(args(out, "--from-manifest", from)...); s.Cached != contents || calls != 0 || state(t, out) != first {
					t.Errorf("--from-manifest %s: %+v, the token made %d", from, s, calls)
				}
			}
			l = l.with("cache of " + name)
			var both []*process
			for _, out := range []string{"4", "5"} {
				both = append(both, l.copyOfToken(l.path(name+" token "+out)).start(append(args(at(out)), l.key()...)...))
			}
			for _, p := range both {
				p.done()
			}
			if one := state(t, at("4")); one != state(t, at("5")) || one == first {
				t.Error("two processes with one cache disagree")
			}
		})
	}
}
