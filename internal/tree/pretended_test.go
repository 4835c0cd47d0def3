package tree

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// eachWay runs a test with metadata from the kernel and from the C library. Both are the same
// if no library is preloaded.
func eachWay(t *testing.T, run func(t *testing.T, o Options)) {
	t.Run("kernel", func(t *testing.T) { run(t, Options{}) })
	t.Run("libc", func(t *testing.T) { run(t, Options{CLibrary: true}) })
}

// special makes a tree with every kind of file. Each has an xattr.
func special(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ok(t, os.Mkdir(at("dir"), 0o2750))
	ok(t, os.WriteFile(at("dir/file"), []byte("content"), 0))
	ok(t, os.Chown(at("dir/file"), 1234, 4321))
	ok(t, os.Link(at("dir/file"), at("second")))
	ok(t, os.WriteFile(at("odd-\xff\xfe"+strings.Repeat("n", 249)), nil, 0o600))
	ok(t, os.Chmod(at("odd-\xff\xfe"+strings.Repeat("n", 249)), 0o755|os.ModeSetuid))
	ok(t, os.Symlink(strings.Repeat("/far", 300), at("link")))
	ok(t, syscall.Mkfifo(at("fifo"), 0o600))
	ok(t, syscall.Mknod(at("device"), syscall.S_IFBLK|0o660, int(unix.Mkdev(8, 17))))
	ok(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, xattr.LSet(path, "trusted.path", []byte(path)))
	}))
	return dir
}

func nodesOf(t *testing.T, tr *Tree) []Node {
	t.Helper()
	var nodes []Node
	for n, err := range tr.Walk(context.Background()) {
		ok(t, err)
		nodes = append(nodes, n)
	}
	return nodes
}

func nodeAt(t *testing.T, tr *Tree, path string) Node {
	t.Helper()
	nodes := nodesOf(t, tr)
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Path == path })
	if i < 0 {
		t.Fatalf("no %s", path)
	}
	return nodes[i]
}

// trusted removes the xattrs that a security module adds.
func trusted(values map[string][]byte) map[string][]byte {
	maps.DeleteFunc(values, func(name string, _ []byte) bool { return !strings.HasPrefix(name, "trusted.") })
	return values
}

func TestKernelAndCLibraryAgree(t *testing.T) {
	dir := special(t)
	kernel, library := nodesOf(t, open(t, dir, Options{})), nodesOf(t, open(t, dir, Options{CLibrary: true}))
	if !slices.Equal(kernel, library) {
		t.Errorf("%+v\n%+v", kernel, library)
	}
	device := kernel[slices.IndexFunc(kernel, func(n Node) bool { return n.Path == "device" })]
	if len(kernel) != 7 || device.Major != 8 || device.Minor != 17 || device.Mode != 0o640|os.ModeDevice {
		t.Errorf("%d nodes, device %+v", len(kernel), device)
	}
}

func TestXattrsOfEveryKind(t *testing.T) {
	eachWay(t, func(t *testing.T, o Options) {
		dir := special(t)
		tr := open(t, dir, o)
		root, err := tr.RootNode()
		ok(t, err)
		if root.Path != "" || !root.Mode.IsDir() || root.UID != uint32(os.Geteuid()) {
			t.Errorf("root %+v", root)
		}
		for _, n := range append(nodesOf(t, tr), root) {
			values, err := tr.Xattrs(n)
			want := filepath.Join(dir, n.Path)
			if n.Path == "dir/file" || n.Path == "second" {
				want = tr.Name("second") // one inode, whose second name was written last
			}
			if err != nil || string(values["trusted.path"]) != want {
				t.Errorf("%s: %q %v", n.Path, values, err)
			}
			if n.Path == "" {
				continue
			}
			n.Stamp.Ino++
			if _, err := tr.Xattrs(n); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), tr.Name(n.Path)) {
				t.Errorf("%s changed: %v", n.Path, err)
			}
		}
		f, err := tr.Open("dir/file")
		ok(t, err)
		defer f.Close()
		for prefix, want := range map[string]int{"trusted.": 1, "user.": 0, "trusted.path.": 0} {
			if values, err := tr.FileXattrs(f, "dir/file", prefix); err != nil || len(values) != want {
				t.Errorf("%s: %q %v", prefix, values, err)
			}
		}
	})
}

func TestReadlink(t *testing.T) {
	tr := open(t, special(t), Options{})
	link, file := nodeAt(t, tr, "link"), nodeAt(t, tr, "second")
	if got, err := tr.Readlink(link); err != nil || got != strings.Repeat("/far", 300) {
		t.Errorf("%q %v", got, err)
	}
	other, outside := link, link
	other.Stamp.Ino++
	outside.Path = "dir/../link"
	for _, c := range []struct {
		n    Node
		want error
	}{{file, syscall.ENOENT}, {other, ErrChanged}, {outside, os.ErrInvalid}} {
		if _, err := tr.Readlink(c.n); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.n.Path, err, c.want)
		}
	}
}

func TestChangeXattrs(t *testing.T) {
	eachWay(t, func(t *testing.T, o Options) {
		tr := open(t, special(t), o)
		for _, path := range []string{"dir/file", "dir"} {
			first := nodeAt(t, tr, path)
			was, err := tr.Xattrs(first)
			ok(t, err)
			changes := []XattrChange{{Name: "trusted.path", Old: was["trusted.path"]}, {Name: "trusted.new", New: []byte{0, 1}}}
			made, now, err := tr.ChangeXattrs(path, first.Stamp, changes...)
			n := nodeAt(t, tr, path)
			if err != nil || made != 2 || now != n.Stamp {
				t.Errorf("%s: %d made, %v", path, made, err)
			}
			values, err := tr.Xattrs(n)
			if want := map[string][]byte{"trusted.new": {0, 1}}; err != nil || !maps.EqualFunc(trusted(values), want, bytes.Equal) {
				t.Errorf("%s: %q %v", path, values, err)
			}
			refused := func(what string, stamp Stamp, c XattrChange, says string) {
				t.Helper()
				_, _, err := tr.ChangeXattrs(path, stamp, c)
				if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), tr.Name(path)) || !strings.Contains(err.Error(), says) {
					t.Errorf("%s: %s: %v", path, what, err)
				}
			}
			refused("a state that is gone", first.Stamp, XattrChange{Name: "trusted.late", New: []byte("x")}, "metadata")
			refused("one that is there", now, XattrChange{Name: "trusted.new", New: []byte("x")}, "trusted.new")
			refused("one that is not there", now, XattrChange{Name: "trusted.gone", Old: []byte("x"), New: []byte("y")}, "trusted.gone")
			made, _, err = tr.ChangeXattrs(path, now, XattrChange{Name: "trusted.small", New: []byte("x")}, XattrChange{Name: "trusted.big", New: make([]byte, 70_000)})
			var failed *XattrError
			if !errors.As(err, &failed) || failed.Name != "trusted.big" || failed.Size != 70_000 || failed.Op != "set" || !errors.Is(err, syscall.E2BIG) || made != 1 {
				t.Errorf("%s: %d made, %v", path, made, err)
			}
		}
	})
}

func TestRestoreXattrs(t *testing.T) {
	eachWay(t, func(t *testing.T, o Options) {
		tr := open(t, special(t), o)
		n := nodeAt(t, tr, "dir/file")
		was, err := tr.Xattrs(n)
		ok(t, err)
		_, _, err = tr.ChangeXattrs(n.Path, n.Stamp,
			XattrChange{Name: "trusted.ours", New: []byte("ours")}, XattrChange{Name: "trusted.theirs", New: []byte("ours")},
			XattrChange{Name: "trusted.path", Old: was["trusted.path"], New: []byte("ours")})
		ok(t, err)
		ok(t, xattr.LSet(tr.Name(n.Path), "trusted.theirs", []byte("theirs")))
		back := []XattrChange{
			{Name: "trusted.ours", Old: []byte("ours")}, {Name: "trusted.theirs", Old: []byte("ours")},
			{Name: "trusted.path", Old: []byte("ours"), New: was["trusted.path"]}, {Name: "trusted.never", Old: []byte("ours"), New: []byte("x")},
		}
		other := n.Stamp
		other.Ino++
		if err := tr.RestoreXattrs(n.Path, other, back...); !errors.Is(err, ErrChanged) {
			t.Errorf("another inode: %v", err)
		}
		ok(t, tr.RestoreXattrs(n.Path, n.Stamp, back...))
		n = nodeAt(t, tr, n.Path)
		values, err := tr.Xattrs(n)
		want := map[string][]byte{"trusted.path": was["trusted.path"], "trusted.theirs": []byte("theirs")}
		if err != nil || !maps.EqualFunc(trusted(values), want, bytes.Equal) {
			t.Errorf("%q %v", values, err)
		}
	})
}

// TestProbeChangesNothing checks that a probe does not even change the directory's ctime.
func TestProbeChangesNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, o Options) {
		dir := special(t)
		tr := open(t, dir, o)
		for _, name := range []string{"trusted.path", "trusted.absent"} {
			before, err := StampOf(tr.Root())
			ok(t, err)
			ok(t, tr.ProbeXattr(tr.Root(), ".", name, []byte("example")))
			after, err := StampOf(tr.Root())
			ok(t, err)
			if before != after {
				t.Errorf("%s: it changed the directory", name)
			}
		}
		values, err := tr.FileXattrs(tr.Root(), ".", "trusted.")
		if err != nil || len(values) != 1 || string(values["trusted.path"]) != dir {
			t.Errorf("%q %v", values, err)
		}
		if err := tr.ProbeXattr(tr.Root(), ".", "nonamespace", nil); !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Errorf("an xattr that cannot be set: %v", err)
		}
	})
}

// TestSwappedParent replaces a directory after the walk by a link to another directory, and
// by that directory itself. Then reading and changing xattrs must fail.
func TestSwappedParent(t *testing.T) {
	for swapped, swap := range map[string]func(from, to string) error{"link": os.Symlink, "directory": os.Rename} {
		t.Run(swapped, func(t *testing.T) {
			eachWay(t, func(t *testing.T, o Options) {
				dir, outside := special(t), special(t)
				tr := open(t, dir, o)
				n := nodeAt(t, tr, "dir/file")
				f, err := tr.Open("dir/file")
				ok(t, err)
				defer f.Close()
				ok(t, os.Rename(filepath.Join(dir, "dir"), filepath.Join(dir, "moved")))
				ok(t, swap(filepath.Join(outside, "dir"), filepath.Join(dir, "dir")))
				refused := func(what string, err error) {
					t.Helper()
					if !errors.Is(err, ErrChanged) && !errors.Is(err, syscall.ELOOP) {
						t.Errorf("%s: %v", what, err)
					}
				}
				change := XattrChange{Name: "trusted.new", New: []byte("x")}
				_, _, err = tr.ChangeXattrs("dir/file", n.Stamp, change)
				refused("change", err)
				refused("restore", tr.RestoreXattrs("dir/file", n.Stamp, change))
				_, err = tr.Xattrs(n)
				refused("read", err)
				if o.CLibrary {
					_, err = tr.FileXattrs(f, "dir/file", "")
					refused("read of an open file", err)
				}
				for _, path := range []string{filepath.Join(outside, "second"), filepath.Join(dir, "moved/file")} {
					if _, err := xattr.LGet(path, "trusted.new"); !errors.Is(err, xattr.ENOATTR) {
						t.Errorf("%s was written to: %v", path, err)
					}
				}
			})
		})
	}
}

// TestRootThatMoved renames the root: the tree must stay the open directory. The C library,
// which is asked by path, must fail.
func TestRootThatMoved(t *testing.T) {
	eachWay(t, func(t *testing.T, o Options) {
		dir, outside := special(t), special(t)
		tr := open(t, dir, o)
		ok(t, os.Rename(dir, dir+"-moved"))
		ok(t, os.Rename(outside, dir))
		for n, err := range tr.Walk(context.Background()) {
			if o.CLibrary && !errors.Is(err, ErrChanged) {
				t.Errorf("%s: %v", n.Path, err)
			}
			if !o.CLibrary && err != nil {
				t.Errorf("%s: %v", n.Path, err)
			}
		}
	})
}
