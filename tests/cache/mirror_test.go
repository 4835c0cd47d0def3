package cache

import "testing"

// TestImport exports a cache. A machine that imports the files signs without the token, and
// exports the same files.
func TestImport(t *testing.T) {
	l := newLab(t)
	dir, mirror, again := tree(t, l.path("tree"), contents), l.path("mirror"), l.path("again")
	l.sign("rootfs", "sign", dir)
	first := state(t, dir)
	l.must("cache", "export", "--cache", l.cache, mirror)
	l = l.with("imported")
	l.must("cache", "import", "--cache", l.cache, "--cert", l.certs, mirror)
	dir = tree(t, l.path("other tree"), contents)
	if s, calls := l.sign("rootfs", "sign", dir); s.Cached != contents || calls != 0 || state(t, dir) != first {
		t.Errorf("%+v, the token made %d", s, calls)
	}
	l.must("cache", "export", "--cache", l.cache, again)
	if state(t, again) != state(t, mirror) {
		t.Error("what was imported is exported as other files")
	}
	l.sound()
}
