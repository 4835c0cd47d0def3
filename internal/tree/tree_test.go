package tree

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// kernels are the kernels that a Tree may run on. The first is this kernel. The others lack
// what older kernels do not have or seccomp filters forbid.
var kernels = []struct {
	name            string
	openat2, mounts bool
	library         bool // metadata from the C library
}{
	{"openat2 and mount ids", true, true, false},
	{"mount ids", false, true, false},
	{"openat2", true, false, false},
	{"neither", false, false, false},
	{"the C library", true, true, true},
}

// each runs a test on a tree with each of the kernels.
func each(t *testing.T, dir string, o Options, test func(*testing.T, *Tree)) {
	t.Helper()
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			o.CLibrary = k.library
			tr := open(t, dir, o)
			if !tr.openat2 || tr.mount == 0 {
				t.Fatalf("this kernel lacks openat2 (%v) or mount ids (%d): the test compares nothing", tr.openat2, tr.mount)
			}
			if tr.openat2 = k.openat2; !k.mounts {
				tr.mount = 0
			}
			test(t, tr)
		})
	}
}

func open(t testing.TB, dir string, o Options) *Tree {
	t.Helper()
	tr, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file and the directories above it.
func write(t testing.TB, path, content string) string {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
	ok(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// mount mounts a file system for the duration of the test. It needs root.
func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	harness.Root(t)
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Fatalf("mount %s on %s: %v", source, target, err)
	}
	t.Cleanup(func() { ok(t, unix.Unmount(target, unix.MNT_DETACH)) })
}

// asNobody calls f on a thread that has no privileges.
func asNobody(t testing.TB, f func()) {
	t.Helper()
	harness.Root(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid uintptr) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uid, ^uintptr(0)); errno != 0 {
			t.Fatalf("setresuid: %v", errno)
		}
	}
	become(65534)
	defer become(0)
	f()
}

// reachable returns a directory of the test that everybody can enter, unlike t.TempDir.
func reachable(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.Bytes())
	}
	return out
}
