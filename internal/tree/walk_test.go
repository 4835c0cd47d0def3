package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// found is what a walk yielded.
type found struct {
	paths []string
	nodes map[string]Node
	errs  map[string]error
}

func walk(t *testing.T, tr *Tree, meet func(Node)) found {
	t.Helper()
	f := found{nodes: map[string]Node{}, errs: map[string]error{}}
	for n, err := range tr.Walk(t.Context()) {
		if err != nil {
			if f.errs[n.Path] != nil {
				t.Errorf("two errors for %q", n.Path)
			}
			f.errs[n.Path] = err
			continue
		}
		if _, twice := f.nodes[n.Path]; twice {
			t.Errorf("%q twice", n.Path)
		}
		f.paths = append(f.paths, n.Path)
		f.nodes[n.Path] = n
		if meet != nil {
			meet(n)
		}
	}
	return f
}

func (f found) clean(t *testing.T) found {
	t.Helper()
	for path, err := range f.errs {
		t.Errorf("%q: %v", path, err)
	}
	return f
}

// find lists a tree with find(1) and sort(1).
func find(t *testing.T, dir string, flags ...string) []string {
	t.Helper()
	args := append([]string{"-c", `cd "$1" && shift && find . "$@" -mindepth 1 -printf '%P\0' | LC_ALL=C sort -z`, "sh", dir}, flags...)
	return strings.Split(strings.TrimSuffix(string(run(t, "sh", args...)), "\x00"), "\x00")
}

func TestWalkOrder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"a/x", "a/x.y", "a/x0", "a-b", "a.c/q", "a0", "aa/", "a/sub/deep", "b", "B", "z/-", "z/ ", " lead", "trail ",
		"new\nline/in\nside", "not-\xff-utf8/\xc3\x28", "\x01", "tab\t", `back\slash`, "é", "\xe2\x82",
		strings.Repeat("n", 255) + "/" + strings.Repeat("\xfe", 255),
	} {
		if strings.HasSuffix(name, "/") {
			ok(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
			continue
		}
		write(t, filepath.Join(dir, name), name)
	}
	want := find(t, dir)
	if i, j := slices.Index(want, "a-b"), slices.Index(want, "a/x"); i < 0 || j < i {
		t.Fatalf("sort(1) puts a-b at %d and a/x at %d", i, j)
	}
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		got := walk(t, tr, nil).clean(t)
		if !slices.Equal(got.paths, want) {
			t.Errorf("got  %q\nwant %q", got.paths, want)
		}
		if !slices.IsSorted(got.paths) {
			t.Error("not in byte order")
		}
		for _, path := range got.paths {
			f, err := tr.Open(path)
			ok(t, err)
			now, err := StampOf(f)
			ok(t, err)
			ok(t, f.Close())
			if now != got.nodes[path].Stamp {
				t.Errorf("%q: walk has %+v, the open file %+v", path, got.nodes[path].Stamp, now)
			}
		}
	})
}

func TestWalkMetadata(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "setuid"), "12345")
	ok(t, os.Chown(filepath.Join(dir, "setuid"), 1234, 70000))
	ok(t, os.Chmod(filepath.Join(dir, "setuid"), 0o751|fs.ModeSetuid|fs.ModeSetgid))
	ok(t, os.Mkdir(filepath.Join(dir, "sticky"), 0o755))
	ok(t, os.Chmod(filepath.Join(dir, "sticky"), 0o777|fs.ModeSticky))
	ok(t, os.Link(filepath.Join(dir, "setuid"), filepath.Join(dir, "link")))
	ok(t, os.Symlink("setuid", filepath.Join(dir, "symlink")))
	ok(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	ok(t, unix.Mknod(filepath.Join(dir, "char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	ok(t, unix.Mknod(filepath.Join(dir, "block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 200))))
	ok(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0))
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		got := walk(t, tr, nil).clean(t)
		if len(got.paths) != 8 {
			t.Fatalf("got %q", got.paths)
		}
		for path, n := range got.nodes {
			want, err := os.Lstat(filepath.Join(dir, path))
			ok(t, err)
			if n.Mode != want.Mode() || n.Size != want.Size() || n.Stamp.Mtime != want.ModTime().UnixNano() || n.MountPoint {
				t.Errorf("%s: %+v, want %v, %d bytes, %v", path, n, want.Mode(), want.Size(), want.ModTime())
			}
		}
		if n := got.nodes["link"]; n.UID != 1234 || n.GID != 70000 || n.Links != 2 || n.Stamp != got.nodes["setuid"].Stamp {
			t.Errorf("link: %+v", n)
		}
	})
}

func TestWalkFollowsNoLink(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "x")
	dir := t.TempDir()
	ok(t, os.Symlink(outside, filepath.Join(dir, "out")))
	ok(t, os.Symlink(".", filepath.Join(dir, "self")))
	ok(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	each(t, dir, Options{CrossMounts: true}, func(t *testing.T, tr *Tree) {
		if got := walk(t, tr, nil).clean(t); !slices.Equal(got.paths, []string{"dangling", "out", "self"}) {
			t.Errorf("got %q", got.paths)
		}
	})
}

// TestWalkSwappedDirectory changes a directory between the moment when Walk yields it and the
// moment when Walk opens it. An attacker would have to win a race for that.
func TestWalkSwappedDirectory(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "inner"), "outside")
	for name, c := range map[string]struct {
		swap func(t *testing.T, path string)
		want error
	}{
		"for a link to outside": {func(t *testing.T, path string) {
			ok(t, os.Rename(path, path+".old"))
			ok(t, os.Symlink(outside, path))
		}, unix.ELOOP},
		"for a link to inside": {func(t *testing.T, path string) {
			ok(t, os.Rename(path, path+".old"))
			ok(t, os.Symlink("m.old", path))
		}, unix.ELOOP},
		"for another directory": {func(t *testing.T, path string) {
			ok(t, os.Rename(path, path+".old"))
			ok(t, os.Mkdir(path, 0o755))
		}, ErrChanged},
		"for a FIFO": {func(t *testing.T, path string) {
			ok(t, os.Rename(path, path+".old"))
			ok(t, unix.Mkfifo(path, 0o644))
		}, unix.ENOTDIR},
		"removed": {func(t *testing.T, path string) { ok(t, os.RemoveAll(path)) }, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range kernels {
				dir := t.TempDir()
				for _, path := range []string{"a/inner", "m/inner", "z/inner"} {
					write(t, filepath.Join(dir, path), "inside")
				}
				tr := open(t, dir, Options{})
				if tr.openat2 = k.openat2; !k.mounts {
					tr.mount = 0
				}
				got := walk(t, tr, func(n Node) {
					if n.Path == "m" {
						c.swap(t, filepath.Join(dir, "m"))
					}
				})
				if err := got.errs["m"]; !errors.Is(err, c.want) || !strings.Contains(err.Error(), filepath.Join(dir, "m")) || len(got.errs) != 1 {
					t.Errorf("%s: got errors %v, want %v for m", k.name, got.errs, c.want)
				}
				if !slices.Equal(got.paths, []string{"a", "a/inner", "m", "z", "z/inner"}) {
					t.Errorf("%s: got %q", k.name, got.paths)
				}
			}
		})
	}
}

func TestWalkVanishedName(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		f, err := tr.OpenDir("d")
		ok(t, err)
		defer f.Close()
		w := walker{tree: tr, ctx: t.Context()}
		s := w.examine(int(f.Fd()), Stamp{}, "d/", "gone") // as if it had been removed after it was listed
		if !errors.Is(s.err, fs.ErrNotExist) || !strings.Contains(s.err.Error(), filepath.Join(dir, "d/gone")) {
			t.Errorf("got %v", s.err)
		}
		w.yield = func(n Node, err error) bool {
			if n.Path != "d/gone" || err == nil {
				t.Errorf("yields %q, %v", n.Path, err)
			}
			return true
		}
		w.levels = []level{{"d/", []step{s}}}
		if !w.step() {
			t.Error("the walk ends")
		}
	})
}

func TestWalkUnreadable(t *testing.T) {
	harness.Root(t)
	dir := reachable(t)
	write(t, filepath.Join(dir, "closed/x"), "")
	write(t, filepath.Join(dir, "listed/x"), "")
	write(t, filepath.Join(dir, "z"), "")
	ok(t, os.Chmod(filepath.Join(dir, "closed"), 0o000))
	ok(t, os.Chmod(filepath.Join(dir, "listed"), 0o444)) // its names can be read, but not their metadata
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		asNobody(t, func() {
			got := walk(t, tr, nil)
			if len(got.errs) != 2 || !errors.Is(got.errs["closed"], fs.ErrPermission) || !errors.Is(got.errs["listed/x"], fs.ErrPermission) {
				t.Errorf("got errors %v", got.errs)
			}
			if !slices.Equal(got.paths, []string{"closed", "listed", "z"}) {
				t.Errorf("got %q", got.paths)
			}
		})
	})
}

func TestWalkMounts(t *testing.T) {
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "inner"), "x")
	dir := t.TempDir()
	for _, path := range []string{"tmpfs/below", "bind/below", "sub/bind/below", "sub/dir/inner", "file", "z"} {
		write(t, filepath.Join(dir, path), "")
	}
	mount(t, "tmpfs", filepath.Join(dir, "tmpfs"), "tmpfs", 0, "size=64k")
	write(t, filepath.Join(dir, "tmpfs/inner"), "")
	mount(t, elsewhere, filepath.Join(dir, "bind"), "", unix.MS_BIND, "")
	mount(t, filepath.Join(dir, "sub/dir"), filepath.Join(dir, "sub/bind"), "", unix.MS_BIND, "") // the tree's own file system
	mount(t, filepath.Join(elsewhere, "inner"), filepath.Join(dir, "file"), "", unix.MS_BIND, "")

	t.Run("not crossed", func(t *testing.T) {
		each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
			got := walk(t, tr, nil).clean(t)
			if !tr.openat2 && tr.mount == 0 {
				// Device numbers show only the tmpfs.
				if n := got.nodes["tmpfs"]; !n.MountPoint || got.nodes["tmpfs/inner"].Path != "" {
					t.Errorf("tmpfs: %+v", n)
				}
				return
			}
			if want := []string{"bind", "file", "sub", "sub/bind", "sub/dir", "sub/dir/inner", "tmpfs", "z"}; !slices.Equal(got.paths, want) {
				t.Errorf("got %q, want %q", got.paths, want)
			}
			for _, path := range []string{"bind", "sub/bind", "tmpfs"} {
				if !got.nodes[path].MountPoint || !got.nodes[path].Mode.IsDir() {
					t.Errorf("%s: %+v", path, got.nodes[path])
				}
			}
			if got.nodes["file"].MountPoint != (tr.mount != 0) || got.nodes["z"].MountPoint || got.nodes["sub"].MountPoint {
				t.Errorf("%+v", got.nodes)
			}
			for _, path := range []string{"bind", "bind/inner", "file", "tmpfs/inner"} {
				if f, err := tr.Open(path); !errors.Is(err, ErrMountPoint) {
					t.Errorf("open %s: %v, %v", path, f, err)
				}
			}
		})
	})
	t.Run("crossed", func(t *testing.T) {
		want := find(t, dir)
		each(t, dir, Options{CrossMounts: true}, func(t *testing.T, tr *Tree) {
			got := walk(t, tr, nil).clean(t)
			if !slices.Equal(got.paths, want) {
				t.Errorf("got %q, want %q", got.paths, want)
			}
			if tr.mount != 0 && (got.nodes["bind/inner"].Mount == got.nodes["z"].Mount || got.nodes["bind/inner"].Mount == got.nodes["tmpfs/inner"].Mount) {
				t.Errorf("mounts are not distinguished: %+v", got.nodes)
			}
			f, err := tr.Open("bind/inner")
			ok(t, err)
			ok(t, f.Close())
		})
	})
	t.Run("the tree is a mount itself", func(t *testing.T) {
		each(t, filepath.Join(dir, "bind"), Options{}, func(t *testing.T, tr *Tree) {
			if got := walk(t, tr, nil).clean(t); !slices.Equal(got.paths, []string{"inner"}) {
				t.Errorf("got %q", got.paths)
			}
		})
	})
}

func TestWalkCancel(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"a/x", "b/x", "c/x"} {
		write(t, filepath.Join(dir, path), "")
	}
	tr := open(t, dir, Options{})
	why := errors.New("enough")
	for _, at := range []string{"", "a", "a/x", "b"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if at == "" {
			cancel(why)
		}
		var last Node
		var failed error
		after := 0
		for n, err := range tr.Walk(ctx) {
			if failed != nil {
				t.Errorf("%q: continues with %q after the error", at, n.Path)
			}
			if last, failed = n, err; ctx.Err() != nil {
				after++
			}
			if n.Path == at {
				cancel(why)
			}
		}
		if !errors.Is(failed, why) || last.Path != "" || after != 1 {
			t.Errorf("cancelled at %q: ended with %q, %v after %d more", at, last.Path, failed, after)
		}
		cancel(nil)
	}
}

func TestWalkBreak(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b/c"), "")
	write(t, filepath.Join(dir, "z"), "")
	tr := open(t, dir, Options{})
	for _, at := range []string{"a", "a/b", "a/b/c", "z"} {
		for n := range tr.Walk(t.Context()) { // panics if the walk continues after the break
			if n.Path == at {
				break
			}
		}
	}
}

// deep makes a chain of directories and a file at its end, and returns its path.
func deep(t *testing.T, dir string, depth, length int) string {
	t.Helper()
	t.Cleanup(func() { run(t, "rm", "-rf", filepath.Join(dir, "0")) })
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	ok(t, err)
	path, name := "0", "0"
	for range depth {
		ok(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		ok(t, err)
		ok(t, unix.Close(at))
		at, name = next, strings.Repeat("d", length)
		path += "/" + name
	}
	fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_WRONLY, 0o644)
	ok(t, err)
	_, err = unix.Write(fd, []byte("bottom"))
	ok(t, err)
	ok(t, errors.Join(unix.Close(fd), unix.Close(at)))
	return path
}

func TestWalkDeeperThanPathMax(t *testing.T) {
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			depth, length := 100, 255
			if k.openat2 && k.mounts {
				depth, length = 2000, 64 // paths of 128 KiB
			}
			dir := t.TempDir()
			bottom := deep(t, dir, depth, length)
			tr := open(t, dir, Options{})
			if tr.openat2 = k.openat2; !k.mounts {
				tr.mount = 0
			}
			count, last := 0, ""
			for n, err := range tr.Walk(t.Context()) {
				ok(t, err)
				count, last = count+1, n.Path
			}
			if count != depth+1 || last != bottom {
				t.Errorf("%d names, the last of %d bytes; want %d and %d bytes", count, len(last), depth+1, len(bottom))
			}
			f, err := tr.Open(bottom)
			ok(t, err)
			defer f.Close()
			if content, err := io.ReadAll(f); err != nil || string(content) != "bottom" {
				t.Errorf("read %q, %v", content, err)
			}
		})
	}
}

// TestOpenDeepLink checks that a link is refused in a part of a long path that is opened by a
// later call.
func TestOpenDeepLink(t *testing.T) {
	dir := t.TempDir()
	bottom := deep(t, dir, 40, 255)
	ok(t, os.Rename(filepath.Join(dir, "0"), filepath.Join(dir, "1")))
	ok(t, os.Symlink("1", filepath.Join(dir, "0")))
	t.Cleanup(func() { run(t, "rm", "-rf", filepath.Join(dir, "1")) })
	each(t, dir, Options{}, func(t *testing.T, tr *Tree) {
		if _, err := tr.Open(bottom); !errors.Is(err, unix.ELOOP) {
			t.Errorf("got %v", err)
		}
		f, err := tr.Open("1" + bottom[1:])
		ok(t, err)
		ok(t, f.Close())
	})
}

func BenchmarkWalk(b *testing.B) {
	tr := open(b, "/usr/share", Options{})
	names := 0
	for b.Loop() {
		for _, err := range tr.Walk(b.Context()) {
			ok(b, err)
			names++
		}
	}
	b.ReportMetric(float64(names)/b.Elapsed().Seconds(), "names/s")
}
