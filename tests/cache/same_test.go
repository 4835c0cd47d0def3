package cache

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
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
			agree(l, name, args)
		})
	}
}

// agree has two processes build the same with one new cache, at the same time: for some digests,
// both have the token make a signature. Both must attach the same one nevertheless.
func agree(l *lab, name string, args func(out string, flags ...string) []string) {
	l.Helper()
	l.token.Delay(l, 50*time.Millisecond)
	for round := range 10 {
		l := l.with(fmt.Sprint("cache of ", name, round))
		l.token.Calls(l)
		var both []*process
		var outs []string
		for i := range 2 {
			out := l.path(fmt.Sprint(name, " at once ", round, i))
			both, outs = append(both, l.copyOfToken(out+" token").start(append(args(out), l.key()...)...)), append(outs, out)
		}
		for _, p := range both {
			p.done()
		}
		if state(l, outs[0]) != state(l, outs[1]) {
			l.Error("two processes with one cache disagree")
		}
		if l.token.Calls(l) > contents {
			return
		}
	}
	l.Error("two processes never had the same digest signed")
}
