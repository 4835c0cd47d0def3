package cache

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestMirror exports a cache and serves it with a web server. Machines whose cache is empty
// then sign without the token: over HTTP, and from the directory.
func TestMirror(t *testing.T) {
	l := newLab(t)
	dir := tree(t, l.path("tree"), contents)
	l.sign("rootfs", "sign", dir)
	first := state(t, dir)
	l.must("cache", "export", "--cache", l.cache, l.path("mirror"))
	server := serve(t, l.path("mirror"))
	for name, mirror := range map[string]string{"HTTP": server, "directory": l.path("mirror")} {
		t.Run(name, func(t *testing.T) {
			l := l.is(t).with("cache from " + name)
			for _, kind := range []string{"fetched", "kept"} {
				dir := tree(t, l.path(name+kind), contents)
				if s, calls := l.sign("rootfs", "sign", "--cache-mirror", mirror, dir); s.Cached != contents || calls != 0 {
					t.Errorf("%+v, the token made %d", s, calls)
				}
				if state(t, dir) != first {
					t.Error("other signatures than in the first build")
				}
			}
			l.sound()
		})
	}
}

// serve serves a directory with busybox and returns its URL.
func serve(t testing.TB, dir string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	at := listener.Addr().String()
	check(t, listener.Close())
	cmd := exec.Command(harness.Tool(t, "busybox"), "httpd", "-f", "-p", at, "-h", dir)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", at)
		if err == nil {
			check(t, c.Close())
			return fmt.Sprintf("http://%s/", at)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the web server does not listen: %v", err)
		}
	}
}

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
