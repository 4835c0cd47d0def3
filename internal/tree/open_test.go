package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// answer returns the result of Open as text.
func answer(tr *Tree, path string) string {
	f, err := tr.Open(path)
	if err != nil {
		var p *os.PathError
		if !errors.As(err, &p) {
			return "not a PathError: " + err.Error()
		}
		return p.Err.Error()
	}
	defer f.Close()
	s, err := StampOf(f)
	return fmt.Sprintf("inode %d:%d %v", s.Dev, s.Ino, err)
}

// TestOpenSameOnEveryKernel checks that opening with openat2 and opening component by
// component have the same results.
func TestOpenSameOnEveryKernel(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "x"), "")
	dir := t.TempDir()
	for _, path := range []string{"a/b/c", "file", "mnt/below", "bind/below", "bound"} {
		write(t, filepath.Join(dir, path), path)
	}
	for link, to := range map[string]string{
		"out": outside, "a/up": "..", "a/abs": "/etc", "in": "a", "tofile": "file", "loop": "loop", "dangling": "nowhere", "proc": "/proc/self/root",
	} {
		ok(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	mount(t, "tmpfs", filepath.Join(dir, "mnt"), "tmpfs", 0, "size=64k")
	write(t, filepath.Join(dir, "mnt/x"), "")
	mount(t, outside, filepath.Join(dir, "bind"), "", unix.MS_BIND, "")
	mount(t, filepath.Join(outside, "x"), filepath.Join(dir, "bound"), "", unix.MS_BIND, "")

	loop, crossing, outOfForm := unix.ELOOP.Error(), ErrMountPoint.Error(), fs.ErrInvalid.Error()
	for path, want := range map[string]string{ // "" means no error, and the same inode each time
		".": "", "a": "", "a/b": "", "a/b/c": "", "file": "",
		"in": loop, "in/b": loop, "in/b/c": loop, "tofile": loop, "out": loop, "out/x": loop, "a/up": loop, "a/up/file": loop,
		"a/abs/passwd": loop, "loop": loop, "loop/x": loop, "dangling": loop, "proc/etc": loop,
		"missing": unix.ENOENT.Error(), "missing/x": unix.ENOENT.Error(), "file/x": unix.ENOTDIR.Error(), "a/b/c/d": unix.ENOTDIR.Error(),
		strings.Repeat("n", 256): unix.ENAMETOOLONG.Error(), strings.Repeat("n", 5000): unix.ENAMETOOLONG.Error(),
		"a/" + strings.Repeat("n", 256): unix.ENAMETOOLONG.Error(), "a\x00b": unix.EINVAL.Error(),
		"": outOfForm, "..": outOfForm, "../x": outOfForm, "a/..": outOfForm, "a/../file": outOfForm, "/etc/passwd": outOfForm, "/": outOfForm,
		"a//b": outOfForm, "a/": outOfForm, "./a": outOfForm, "a/.": outOfForm,
		"mnt": crossing, "mnt/x": crossing, "bind": crossing, "bind/x": crossing, "bound": crossing,
	} {
		for _, cross := range []bool{false, true} {
			expect, first := want, ""
			if cross && want == crossing {
				expect = ""
			}
			for _, k := range kernels[:2] {
				tr := open(t, dir, Options{CrossMounts: cross})
				tr.openat2 = k.openat2
				got := answer(tr, path)
				if expect == "" && !strings.HasPrefix(got, "inode ") || expect != "" && got != expect {
					t.Errorf("%.20q (%s, crossing %v): got %q, want %q", path, k.name, cross, got, expect)
				}
				if first == "" {
					first = got
				}
				if got != first {
					t.Errorf("%.20q (%s, crossing %v): %q, but with openat2 %q", path, k.name, cross, got, first)
				}
			}
		}
	}
}

// TestOpenOnOverlay uses overlayfs, which may give a file another device number than its
// directory.
func TestOpenOnOverlay(t *testing.T) {
	lower, upper, dir := t.TempDir(), t.TempDir(), t.TempDir()
	mount(t, "tmpfs", lower, "tmpfs", 0, "")
	write(t, filepath.Join(lower, "d/file"), "")
	for _, sub := range []string{"u", "w"} {
		ok(t, os.Mkdir(filepath.Join(upper, sub), 0o755))
	}
	mount(t, "overlay", dir, "overlay", 0, "xino=off,lowerdir="+lower+",upperdir="+upper+"/u,workdir="+upper+"/w")
	var d, file unix.Stat_t
	ok(t, unix.Lstat(filepath.Join(dir, "d"), &d))
	if ok(t, unix.Lstat(filepath.Join(dir, "d/file"), &file)); d.Dev == file.Dev {
		t.Fatal("this overlayfs gives all files one device number: the test proves nothing")
	}
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		if n := walk(t, tr, nil).clean(t).nodes["d/file"]; n.MountPoint || n.Path == "" {
			t.Errorf("%+v", n)
		}
		f, err := tr.Open("d/file")
		ok(t, err)
		ok(t, f.Close())
	})
}

func atime(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	ok(t, unix.Lstat(path, &st))
	return st.Atim.Nano()
}

func TestOpenLeavesAccessTime(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "d/file"), "content")
	old := time.Unix(1e9, 0) // older than the mtime: relatime would update it
	touch := func() {
		for _, path := range []string{dir, filepath.Dir(file), file} {
			ok(t, unix.UtimesNano(path, []unix.Timespec{{Sec: old.Unix()}, {Nsec: unix.UTIME_OMIT}}))
		}
	}
	touch()
	if _, err := os.ReadFile(file); err != nil || atime(t, file) == old.UnixNano() {
		t.Fatalf("reading (%v) does not change the access time here: the test proves nothing", err)
	}
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		touch()
		walk(t, tr, nil).clean(t)
		f, err := tr.Open("d/file")
		ok(t, err)
		defer f.Close()
		if content, err := io.ReadAll(f); err != nil || string(content) != "content" {
			t.Fatalf("%q, %v", content, err)
		}
		for _, path := range []string{dir, filepath.Dir(file), file} {
			if got := atime(t, path); got != old.UnixNano() {
				t.Errorf("%s: access time is %v", path, time.Unix(0, got))
			}
		}
	})
}

// TestOpenForeignFile opens a file of another owner, for which O_NOATIME is not permitted.
func TestOpenForeignFile(t *testing.T) {
	dir := reachable(t)
	write(t, filepath.Join(dir, "file"), "content")
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		asNobody(t, func() {
			f, err := tr.Open("file")
			ok(t, err)
			defer f.Close()
			if content, err := io.ReadAll(f); err != nil || string(content) != "content" {
				t.Errorf("%q, %v", content, err)
			}
		})
	})
}

// TestOpenRefusesSpecialFiles checks that Open neither waits for special files nor returns
// them.
func TestOpenRefusesSpecialFiles(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	ok(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	ok(t, unix.Mknod(filepath.Join(dir, "zero"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))))
	ok(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o644, 0))
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		for _, name := range []string{"fifo", "zero", "socket"} {
			want := ErrNotFile
			if name == "socket" {
				want = unix.ENXIO // from the kernel
			}
			if f, err := tr.Open(name); !errors.Is(err, want) || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
				t.Errorf("%s: %v, %v", name, f, err)
			}
			if f, err := tr.OpenDir(name); !errors.Is(err, unix.ENOTDIR) {
				t.Errorf("%s as a directory: %v, %v", name, f, err)
			}
		}
	})
}

func TestOpenTree(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d/file"), "")
	ok(t, os.Symlink("d", filepath.Join(dir, "link")))
	tr := open(t, filepath.Join(dir, "link"), Options{}) // followed, because the caller named it
	if got := walk(t, tr, nil).clean(t); len(got.paths) != 1 || tr.Dir() != filepath.Join(dir, "link") || tr.Name("file") != filepath.Join(dir, "link/file") {
		t.Errorf("%q in %s, %s", got.paths, tr.Dir(), tr.Name("file"))
	}
	// The tree stays the same when its name leads elsewhere.
	ok(t, os.Remove(filepath.Join(dir, "link")))
	ok(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	if got := walk(t, tr, nil).clean(t); len(got.paths) != 1 {
		t.Errorf("%q", got.paths)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "d/file": unix.ENOTDIR} {
		if _, err := Open(filepath.Join(dir, name), Options{}); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStamp(t *testing.T) {
	s := Stamp{Dev: 1, Ino: 1 << 63, Size: 1<<40 + 1, Mtime: -5, Ctime: 1 << 62}
	b, err := s.MarshalBinary()
	ok(t, err)
	var back Stamp
	if ok(t, back.UnmarshalBinary(b)); back != s || len(b) != 40 {
		t.Errorf("%+v came back as %+v in %d bytes", s, back, len(b))
	}
	for _, n := range []int{0, 39, 41} {
		if err := back.UnmarshalBinary(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are accepted as a stamp", n)
		}
	}
	for want, now := range map[string]Stamp{
		"another file":  {Dev: 2, Ino: s.Ino, Size: s.Size, Mtime: s.Mtime, Ctime: s.Ctime},
		"took its plac": {Dev: s.Dev, Ino: 7, Size: s.Size, Mtime: s.Mtime, Ctime: s.Ctime},
		"size went":     {Dev: s.Dev, Ino: s.Ino, Size: 3, Mtime: s.Mtime, Ctime: s.Ctime},
		"content":       {Dev: s.Dev, Ino: s.Ino, Size: s.Size, Mtime: 3, Ctime: s.Ctime},
		"metadata":      {Dev: s.Dev, Ino: s.Ino, Size: s.Size, Mtime: s.Mtime, Ctime: 3},
	} {
		if err := s.Check(now); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one with %q", err, want)
		}
	}
	ok(t, s.Check(s))
}
