package cache

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

func mkdir(t testing.TB, dir string) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o700))
}

// troubles are what can be wrong with a cache. Each of them prepares one, and returns what the
// warning says.
var troubles = map[string]func(l *lab) (says string){
	"disk full":         func(l *lab) string { l.tmpfs("64k"); return "full" },
	"no space at all":   func(l *lab) string { l.tmpfs("4k"); fill(l, l.cache); return "full" },
	"read-only":         readOnly,
	"locked":            locked,
	"newer program":     newer,
	"damaged":           func(l *lab) string { return l.damage("1") },
	"damaged inside":    func(l *lab) string { return l.damage("(SELECT rootpage FROM sqlite_schema WHERE name = 'signature')") },
	"file as directory": func(l *lab) string { write(l, l.cache); return "not a directory" },
	"directory below a file": func(l *lab) string {
		write(l, l.path("file"))
		l.cache = l.path("file/cache")
		return "not a directory"
	},
	"FIFO as directory":        func(l *lab) string { check(l, unix.Mkfifo(l.cache, 0o600)); return "not a directory" },
	"FIFO as database":         func(l *lab) string { return l.instead(func(path string) error { return unix.Mkfifo(path, 0o600) }) },
	"directory as database":    func(l *lab) string { return l.instead(func(path string) error { return os.Mkdir(path, 0o700) }) },
	"symbolic link to nowhere": func(l *lab) string { check(l, os.Symlink("/nowhere/cache", l.cache)); return "no such file" },
}

// TestTrouble signs with caches that something is wrong with. Each costs one warning, which
// names the cache and the reason. The signatures are right, and the exit code is 0.
func TestTrouble(t *testing.T) {
	l := newLab(t)
	for name, prepare := range troubles {
		t.Run(name, func(t *testing.T) {
			l := l.elsewhere(t)
			says := prepare(l)
			dir := tree(t, l.path("tree"), contents)
			readable := 0
			if name == "read-only" {
				readable = 10
			}
			if s, calls := l.warned(says).sign("rootfs", "sign", dir); s != (signed{contents, readable}) || calls != contents-readable {
				t.Errorf("%+v, the token made %d", s, calls)
			}
			l.verified(dir, contents)
		})
	}
}

// elsewhere returns the same lab for a subtest with a directory and a cache of its own.
func (l *lab) elsewhere(t testing.TB) *lab {
	other := l.is(t)
	other.dir = t.TempDir()
	other.cache = other.path("cache")
	return other
}

// TestWarningsAreNotResults checks that the warning is printed with --quiet, too, and is not in
// the document of --json, which says that no signature came from the cache.
func TestWarningsAreNotResults(t *testing.T) {
	l := newLab(t).elsewhere(t)
	write(l, l.cache)
	l = l.warned("not a directory")
	if out := l.must(append([]string{"rootfs", "sign", "--quiet", tree(t, l.path("quiet"), 3)}, l.key()...)...); out != "" {
		t.Errorf("--quiet prints %q", out)
	}
	if s, calls := l.sign("rootfs", "sign", tree(t, l.path("json"), 3)); s != (signed{3, 0}) || calls != 3 {
		t.Errorf("%+v, the token made %d", s, calls)
	}
	l.verified(l.path("quiet"), 3)
	l.verified(l.path("json"), 3)
}

// tmpfs mounts a file system of a size where the cache is.
func (l *lab) tmpfs(size string) {
	l.Helper()
	mkdir(l, l.cache)
	harness.Must(l, "mount", "-t", "tmpfs", "-o", "mode=0700,size="+size, "tmpfs", l.cache)
	l.Cleanup(func() { check(l, unix.Unmount(l.cache, unix.MNT_DETACH)) })
}

func fill(l *lab, dir string) {
	l.Helper()
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<16), 0o600); err == nil {
		l.Fatal("the file system is not full")
	}
}

func write(l *lab, path string) {
	l.Helper()
	check(l, os.WriteFile(path, nil, 0o600))
}

// some makes a cache with a few signatures.
func (l *lab) some() {
	l.Helper()
	dir := tree(l, l.path("some"), 10)
	l.must(append([]string{"rootfs", "sign", dir}, l.key()...)...)
}

func readOnly(l *lab) string {
	l.tmpfs("8m")
	l.some()
	harness.Must(l, "mount", "-o", "remount,ro", l.cache)
	return "read-only"
}

func newer(l *lab) string {
	l.some()
	l.sqlite("PRAGMA user_version = 1000000")
	return "newer"
}

// locked has another process keep the database locked until the test ends.
func locked(l *lab) string {
	l.some()
	cmd := exec.Command(harness.Tool(l, "sqlite3"), filepath.Join(l.cache, "signatures.db"))
	in, err := cmd.StdinPipe()
	check(l, err)
	out, err := cmd.StdoutPipe()
	check(l, err)
	check(l, cmd.Start())
	l.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_, err = fmt.Fprintln(in, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; SELECT 'it is locked';")
	check(l, err)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "it is locked" {
			return "locked"
		}
	}
	l.Fatal("sqlite3 does not lock the database")
	return ""
}

// damage overwrites a page of the database.
func (l *lab) damage(page string) string {
	l.some()
	l.sqlite("PRAGMA wal_checkpoint(TRUNCATE)")
	at, err := strconv.ParseInt(l.sqlite("SELECT ("+page+" - 1) * page_size FROM pragma_page_size"), 10, 64)
	check(l, err)
	file, err := os.OpenFile(filepath.Join(l.cache, "signatures.db"), os.O_WRONLY, 0)
	check(l, err)
	_, err = file.WriteAt([]byte("this was overwritten by something else"), at)
	check(l, err)
	check(l, file.Close())
	return "damaged"
}

// instead puts something else in the place of the database.
func (l *lab) instead(put func(path string) error) string {
	mkdir(l, l.cache)
	check(l, put(filepath.Join(l.cache, "signatures.db")))
	return "not a regular file"
}
