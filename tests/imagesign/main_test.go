// Package imagesign tests `image sign` with images that mke2fs makes, against signing the
// tree before the image is made, e2fsck, the kernel and evmctl.
package imagesign

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is a directory in which an ordinary user signs images.
type lab struct {
	testing.TB
	dir, program, keys string
}

const user = 4711

func newLab(t testing.TB) *lab {
	t.Helper()
	harness.Root(t)
	dir, err := os.MkdirTemp("", "sign-*") // other users cannot enter the parent of t.TempDir
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	l := &lab{t, dir, filepath.Join(dir, "imasign-build"), filepath.Join(dir, "keys")}
	harness.Must(t, "install", "-m", "0755", harness.Program(t), l.program)
	harness.Must(t, l.program, "key", "init", "--algorithm", "p256", "--with", "evm", l.keys)
	check(t, os.Mkdir(l.path("tmp"), 0o755))
	harness.Must(t, "chown", "-R", fmt.Sprint(user), dir)
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// command returns a command of the program, as the ordinary user, with programs in another
// directory before those of the system.
func (l *lab) command(bin string, args ...string) *exec.Cmd {
	cmd := exec.Command(l.program, args...)
	cmd.Dir = l.dir
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "TMPDIR=" + l.path("tmp")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd
}

// sign runs `image sign`.
func (l *lab) sign(args ...string) harness.Result {
	l.Helper()
	return harness.RunCommand(l, l.command("/nowhere", l.arguments(args...)...))
}

func (l *lab) arguments(args ...string) []string {
	return append([]string{"image", "sign", "--progress=none", "--key", l.keys}, args...)
}

// signed runs `image sign`, which must succeed, and checks the result with e2fsck.
func (l *lab) signed(args ...string) harness.Result {
	l.Helper()
	r := l.sign(args...)
	if r.Code != 0 {
		l.Fatalf("image sign %s: exit %d\n%s", strings.Join(args, " "), r.Code, r.Err)
	}
	return r
}

// image makes an image of a directory with mke2fs, for the ordinary user.
func (l *lab) image(name, tree, options string) string {
	l.Helper()
	path := l.path(name)
	check(l, errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 48<<20)))
	harness.Must(l, "mke2fs", append(strings.Fields(options), "-q", "-F", "-d", tree, path)...)
	check(l, os.Chown(path, user, user))
	return path
}

// files lists what is in the directory, without what all tests have.
func (l *lab) files() (names []string) {
	l.Helper()
	for _, dir := range []string{l.dir, l.path("tmp")} {
		entries, err := os.ReadDir(dir)
		check(l, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	return names
}
