package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	dir := t.TempDir()
	if _, err := Open(dir, Options{Select: "most"}); err == nil || !strings.Contains(err.Error(), `"most"`) {
		t.Errorf("selection: %v", err)
	}
	for flag, o := range map[string]Options{"--include": {Include: []string{"["}}, "--exclude": {Exclude: []string{"["}}, "--hashed": {Hashed: []string{"["}}} {
		if _, err := Open(dir, o); !errors.Is(err, ErrPattern) || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no tree: %v", err)
	}
	for word, want := range map[string]bool{"all": true, "executable": true, "": false, "ALL": false} {
		if _, err := ParseSelection(word); (err == nil) != want {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestIncludeExcludeHashed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bin/a", "bin/b.txt", "etc/conf", "etc/keep", "var/x")
	var ev events
	o := Options{Include: []string{"/bin", "/etc"}, Exclude: []string{"*.txt", "/etc", "!/etc/keep"}, Hashed: []string{"keep"}, Observe: ev.observer()}
	tr := openTree(t, dir, o)
	got := map[string]string{}
	for r, err := range planFor(t, tr).Records() {
		ok(t, err)
		if got[r.Path] = r.Status().String(); r.Reason != "" {
			got[r.Path] = r.Reason
		}
	}
	want := map[string]string{
		"bin": "directory", "etc": "directory", "var": "directory",
		"bin/a": "signed", "bin/b.txt": "excluded by *.txt", "etc/conf": "excluded by /etc", "etc/keep": "hashed", "var/x": "not included",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if len(ev.warnings) > 0 {
		t.Errorf("warned of %q", ev.warnings)
	}
}

// Every listing looks for itself which patterns match nothing.
func TestUnmatchedPatternsWarned(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a")
	var ev events
	tr := openTree(t, dir, Options{Include: []string{"a", "/lib/x"}, Exclude: []string{"/no/**"}, Hashed: []string{"!nor"}, Observe: ev.observer()})
	for range 2 {
		ev.warnings = nil
		planFor(t, tr)
		if len(ev.warnings) != 3 || !strings.Contains(ev.warnings[0], `--include "/lib/x" matches nothing`) ||
			!strings.Contains(ev.warnings[1], `--exclude "/no/**"`) || !strings.Contains(ev.warnings[2], `--hashed "!nor"`) {
			t.Errorf("warned of %q", ev.warnings)
		}
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

func TestSelectExecutable(t *testing.T) {
	dir := t.TempDir()
	program, err := os.ReadFile("/bin/true")
	ok(t, err)
	put := func(path string, content []byte, mode fs.FileMode) {
		t.Helper()
		write(t, dir, path)
		ok(t, os.WriteFile(filepath.Join(dir, path), content, mode))
		ok(t, os.Chmod(filepath.Join(dir, path), mode))
	}
	run(t, "sh", "-c", `cd "$1" && echo 'int f(void){return 1;}' >f.c && gcc -c f.c -o object && gcc -shared f.c -o lib.so.1`, "sh", dir)
	ok(t, os.Remove(filepath.Join(dir, "f.c")))
	for _, name := range []string{"object", "lib.so.1"} {
		ok(t, os.Chmod(filepath.Join(dir, name), 0o644))
	}
	script := []byte("#!/bin/sh\n")
	put("bin/program", program, 0o755)
	put("bin/plain-mode", program, 0o600)
	put("bin/script", script, 0o755)
	put("bin/group-x", script, 0o610)
	put("bin/other-x", nil, 0o601)
	put("bin/read-only-script", script, 0o644)
	put("lib/firmware/a.bin", []byte("fw"), 0o644)
	put("usr/lib/firmware/deep/b", nil, 0o644)
	put("lib/firmwares/c", []byte("no"), 0o644)
	put("opt/lib/firmware/d", []byte("no"), 0o644)
	for _, module := range []string{"m.ko", "m.ko.gz", "m.ko.xz", "m.ko.zst"} {
		put("lib/modules/6.1/"+module, []byte("packed"), 0o644)
	}
	put("lib/modules/6.1/modules.dep", []byte("text"), 0o644)
	put("lib/modules/6.1/ko", []byte("text"), 0o644)
	put("etc/short", []byte("\x7fEL"), 0o644)
	put("etc/empty", nil, 0o644)
	put("etc/conf", []byte("x=\x7fELF\n"), 0o644)
	paths, reasons := signed(t, dir, Options{Select: Executable})
	want := []string{
		"bin/group-x", "bin/other-x", "bin/plain-mode", "bin/program", "bin/script", "lib.so.1", "lib/firmware/a.bin",
		"lib/modules/6.1/m.ko", "lib/modules/6.1/m.ko.gz", "lib/modules/6.1/m.ko.xz", "lib/modules/6.1/m.ko.zst", "object", "usr/lib/firmware/deep/b",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("got  %q\nwant %q", paths, want)
	}
	for _, path := range []string{"bin/read-only-script", "lib/firmwares/c", "opt/lib/firmware/d", "lib/modules/6.1/modules.dep", "etc/short", "etc/empty", "etc/conf"} {
		if reasons[path] != "not executable" {
			t.Errorf("%s: %q", path, reasons[path])
		}
	}
}

func link(t testing.TB, dir, from, to string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755))
	ok(t, os.Link(filepath.Join(dir, from), filepath.Join(dir, to)))
}

func TestHardLinks(t *testing.T) {
	harness.Root(t)
	for name, c := range map[string]struct {
		options Options
		pending string   // the one name that is attached to
		links   int64    // the further names
		skipped []string // the names left out
		warning string
	}{
		"all":            {Options{}, "a", 2, nil, ""},
		"first excluded": {Options{Exclude: []string{"/a"}}, "b", 1, []string{"a"}, "further hard links"},
		"first left out": {Options{Include: []string{"/b", "/c"}}, "b", 1, []string{"a"}, "further hard links"},
		"last excluded":  {Options{Exclude: []string{"/c"}}, "a", 1, []string{"c"}, "further hard links"},
		"one hashed":     {Options{Hashed: []string{"/b"}}, "a", 2, nil, "b: is a hard link of a name that the patterns treat otherwise"},
		"first hashed":   {Options{Hashed: []string{"/a"}}, "a", 2, nil, "b: is a hard link of a name that the patterns treat otherwise"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "a")
			link(t, dir, "a", "b")
			link(t, dir, "a", "c")
			var ev events
			c.options.Observe = ev.observer()
			plan := sign(t, dir, c.options)
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
			if ok(t, err); v.IsSignature() != (name != "first hashed") {
				t.Errorf("the inode has a %v", v)
			}
		})
	}
}

// The kernel loads a module or firmware by the one name that Executable selects;
// that another name of the inode comes first must not leave it unsigned.
func TestHardLinkSelectedByAnotherName(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, dir, "a-copy", "plain", "elf")
	link(t, dir, "a-copy", "lib/firmware/blob")
	link(t, dir, "plain", "plain2")
	program, err := os.ReadFile("/bin/true")
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(dir, "elf"), program, 0o644))
	link(t, dir, "elf", "m.ko")
	paths, reasons := signed(t, dir, Options{Select: Executable})
	if !slices.Equal(paths, []string{"elf", "lib/firmware/blob", "m.ko"}) || reasons["a-copy"] != "not executable" || reasons["plain2"] != "not executable" {
		t.Errorf("signs %q, %v", paths, reasons)
	}
	plan := sign(t, dir, Options{Select: Executable})
	if n := plan.Counts(); n.Pending() != 2 || n.Links != 1 {
		t.Errorf("%+v", n)
	}
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

// A file that is no longer the one that was listed is not digested.
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
				for err == nil { // has to end, whatever is appended
					_, err = content.Read(b[:])
				}
				if !errors.Is(err, tree.ErrChanged) || !strings.Contains(err.Error(), filepath.Join(dir, "f")) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
