package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no tree: %v", err)
	}
}

func TestSkippedWithReason(t *testing.T) {
	harness.Root(t)
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside, "inner")
	write(t, dir, "file", "mnt/hidden", "bound")
	ok(t, os.Symlink("file", filepath.Join(dir, "link")))
	ok(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	ok(t, unix.Mknod(filepath.Join(dir, "char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	ok(t, unix.Mknod(filepath.Join(dir, "block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 200))))
	ok(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0))
	mount(t, outside, filepath.Join(dir, "mnt"), "", unix.MS_BIND, "")
	mount(t, filepath.Join(outside, "inner"), filepath.Join(dir, "bound"), "", unix.MS_BIND, "")
	paths, reasons := signed(t, dir, Options{})
	if !slices.Equal(paths, []string{"file"}) {
		t.Errorf("signs %q", paths)
	}
	for path, word := range map[string]string{
		"link": "link", "fifo": "fifo", "char": "char", "block": "block", "socket": "socket", "mnt": "mount point", "bound": "mount point",
	} {
		if !strings.Contains(reasons[path], word) {
			t.Errorf("%s: %q", path, reasons[path])
		}
	}
	if paths, _ := signed(t, dir, Options{CrossMounts: true}); !slices.Equal(paths, []string{"bound", "file", "mnt/inner"}) {
		t.Errorf("crossing mounts signs %q", paths)
	}
}

// TestTargetsAndDevices checks what entries state about symbolic links and devices.
func TestTargetsAndDevices(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	ok(t, os.Symlink("../\xff", filepath.Join(dir, "link")))
	ok(t, unix.Mknod(filepath.Join(dir, "char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	ok(t, unix.Mknod(filepath.Join(dir, "block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	write(t, dir, "file")
	got := map[string]string{}
	for e, err := range openTree(t, dir, Options{}).Entries(t.Context()) {
		if ok(t, err); e.Readlink == nil {
			got[e.Path] = e.Device
			continue
		}
		got[e.Path], err = e.Readlink()
		ok(t, err)
		ok(t, os.Symlink("elsewhere", filepath.Join(dir, "new")))
		ok(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, e.Path)))
		if target, err := e.Readlink(); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "link")) {
			t.Errorf("another link: %q, %v", target, err)
		}
	}
	if want := map[string]string{"link": "../\xff", "char": "1:3", "block": "259:70000", "file": ""}; !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func link(t testing.TB, dir, from, to string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755))
	ok(t, os.Link(filepath.Join(dir, from), filepath.Join(dir, to)))
}

func TestUnreadableEntriesFailThePlan(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "d/x", "z")
	tr := openTree(t, dir, Options{})
	e := engine(t, key(), signing.Observer{})
	swapped := &swapper{Tree: tr, at: "d", swap: func() { ok(t, os.RemoveAll(filepath.Join(dir, "d"))) }}
	if _, err := e.Plan(t.Context(), swapped); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(dir, "d")) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Plan(ctx, tr); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestSwappedBeforeDigest checks that a file is not digested if it was replaced or changed
// after it was listed.
func TestSwappedBeforeDigest(t *testing.T) {
	harness.Root(t)
	for name, swap := range swaps {
		t.Run(name, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			write(t, dir, "d/m")
			write(t, outside, "m")
			tr := openTree(t, dir, Options{})
			for e, err := range tr.Entries(t.Context()) {
				ok(t, err)
				if e.Path != "d/m" {
					continue
				}
				swap(t, filepath.Join(dir, "d/m"), outside)
				content, err := e.Open(t.Context())
				if err == nil {
					content.Close()
				}
				if err == nil || !strings.Contains(err.Error(), "d/m") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestContentChangesWhileRead(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"grows": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		},
		"shrinks":      func(path string) error { return os.Truncate(path, 4) },
		"is rewritten": func(path string) error { return os.WriteFile(path, []byte("F\n"), 0o644) },
		"is chmodded":  func(path string) error { return os.Chmod(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "f")
			for e, err := range openTree(t, dir, Options{}).Entries(t.Context()) {
				ok(t, err)
				content, err := e.Open(t.Context())
				ok(t, err)
				defer content.Close()
				var b [1]byte
				_, err = content.Read(b[:])
				ok(t, err)
				ok(t, change(filepath.Join(dir, "f")))
				for err == nil { // must end although content is appended
					_, err = content.Read(b[:])
				}
				if !errors.Is(err, tree.ErrChanged) || !strings.Contains(err.Error(), filepath.Join(dir, "f")) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// TestHardLinks checks that values are attached to the first name without a Reason.
func TestHardLinks(t *testing.T) {
	harness.Root(t)
	for name, c := range map[string]struct {
		but     []choice
		pending string   // the name that values are attached to
		links   int64    // number of further names
		skipped []string // unselected names
		warning string
	}{
		"all":            {nil, "a", 2, nil, ""},
		"first left out": {[]choice{without("a")}, "b", 1, []string{"a"}, "further hard links"},
		"last left out":  {[]choice{without("c")}, "a", 1, []string{"c"}, "further hard links"},
		"only the last":  {[]choice{without("a", "b")}, "c", 0, []string{"a", "b"}, "further hard links"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "a")
			link(t, dir, "a", "b")
			link(t, dir, "a", "c")
			var ev events
			plan := sign(t, dir, Options{Observe: ev.observer()}, c.but...)
			var pending, skipped []string
			for r, err := range plan.Records() {
				ok(t, err)
				if r.Pending() {
					pending = append(pending, r.Path)
				}
				if r.Status() == signing.Skipped {
					skipped = append(skipped, r.Path)
				}
			}
			n := plan.Counts()
			if !slices.Equal(pending, []string{c.pending}) || !slices.Equal(skipped, c.skipped) || n.Links != c.links || n.Pending() != 1 || ev.kinds[signing.Attached] != 1 {
				t.Errorf("attaches to %q, skips %q, %+v, %d attached", pending, skipped, n, ev.kinds[signing.Attached])
			}
			if warned := strings.Join(ev.warnings, "\n"); (c.warning == "") != (warned == "") || !strings.Contains(warned, c.warning) {
				t.Errorf("warned of %q, want %q", warned, c.warning)
			}
			v, err := ima.Parse(getXattr(t, filepath.Join(dir, "c"), ima.XattrIMA))
			if ok(t, err); !v.IsSignature() {
				t.Errorf("the inode has a %v", v)
			}
		})
	}
}
