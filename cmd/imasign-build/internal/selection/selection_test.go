package selection_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// events collects what an observer is told.
type events struct{ warnings []string }

func (e *events) observer() signing.Observer {
	return signing.NewObserver(func(ev signing.Event) {
		if ev.Kind == signing.Warning {
			e.warnings = append(e.warnings, ev.Path+": "+ev.Message)
		}
	})
}

func compile(t testing.TB, o selection.Options) *selection.Rules {
	t.Helper()
	rules, err := selection.Compile(o)
	ok(t, err)
	return rules
}

// planFor plans the tree in dir, of which signatures are wanted and none are made.
func planFor(t testing.TB, dir string, rules *selection.Rules, observe signing.Observer) *signing.Plan {
	t.Helper()
	tree, err := rootfs.Open(dir, rootfs.Options{})
	ok(t, err)
	defer tree.Close()
	engine, err := signing.New(signing.Options{Observe: observe})
	ok(t, err)
	plan, err := engine.Plan(t.Context(), selection.New(tree, rules))
	ok(t, err)
	t.Cleanup(func() { plan.Close() })
	return plan
}

// selected lists what of dir would be signed or hashed, and the reasons for everything
// else.
func selected(t testing.TB, dir string, o selection.Options) (paths []string, reasons map[string]string) {
	t.Helper()
	reasons = map[string]string{}
	for r, err := range planFor(t, dir, compile(t, o), signing.Observer{}).Records() {
		ok(t, err)
		if r.Status() == signing.Skipped {
			reasons[r.Path] = r.Reason
			continue
		}
		paths = append(paths, r.Path)
	}
	return paths, reasons
}

// write makes files, and the directories above them, with their path as content.
func write(t testing.TB, dir string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		ok(t, os.WriteFile(filepath.Join(dir, path), []byte(path+"\n"), 0o644))
	}
}

func link(t testing.TB, dir, from, to string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755))
	ok(t, os.Link(filepath.Join(dir, from), filepath.Join(dir, to)))
}

func TestCompileRefuses(t *testing.T) {
	if _, err := selection.Compile(selection.Options{Files: "most"}); !errors.Is(err, selection.ErrFiles) || !strings.Contains(err.Error(), `"most"`) {
		t.Errorf("selection: %v", err)
	}
	bad := []string{"fine", "["}
	for list, o := range map[selection.List]selection.Options{selection.Include: {Include: bad}, selection.Exclude: {Exclude: bad}, selection.Hashed: {Hashed: bad}} {
		_, err := selection.Compile(o)
		var pattern *selection.PatternError
		if !errors.Is(err, selection.ErrPattern) || !errors.As(err, &pattern) || pattern.List != list || pattern.Text != "[" {
			t.Errorf("%s: %v", list, err)
		}
	}
	for word, want := range map[string]bool{"all": true, "executable": true, "": false, "ALL": false} {
		if _, err := selection.ParseFiles(word); (err == nil) != want {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestIncludeExcludeHashed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bin/a", "bin/b.txt", "etc/conf", "etc/keep", "var/x")
	var ev events
	o := selection.Options{Include: []string{"/bin", "/etc"}, Exclude: []string{"*.txt", "/etc", "!/etc/keep"}, Hashed: []string{"keep"}, Observe: ev.observer()}
	got := map[string]string{}
	for r, err := range planFor(t, dir, compile(t, o), ev.observer()).Records() {
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

// What a manifest lists is not selected a second time, but patterns that match it have matched.
func TestBeside(t *testing.T) {
	entries := fixed{{Path: "bin/listed"}, {Path: "bin/new"}, {Path: "etc/listed"}, {Path: "etc/new"}}
	rules := compile(t, selection.Options{Exclude: []string{"/etc"}, Hashed: []string{"listed"}})
	var got []string
	listed := func(path string) bool { return strings.HasSuffix(path, "listed") }
	for e, err := range selection.Beside(entries, rules, listed).Entries(t.Context()) {
		ok(t, err)
		got = append(got, fmt.Sprint(e.Path, e.Reason, e.HashOnly))
	}
	want := []string{"bin/listedfalse", "bin/newfalse", "etc/listedfalse", "etc/newexcluded by /etcfalse"}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(rules.Unmatched()) > 0 {
		t.Errorf("got %q, unmatched %v", got, rules.Unmatched())
	}
	if src := selection.Beside(entries, nil, listed); fmt.Sprint(src) != fmt.Sprint(entries) {
		t.Error("a source is wrapped without rules")
	}
}

// fixed is a list of entries.
type fixed []signing.Entry

func (f fixed) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for _, e := range f {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// A pattern is unmatched only if it matched nothing in any container of the run, and all
// listings were complete.
func TestUnmatched(t *testing.T) {
	rules := compile(t, selection.Options{Include: []string{"a", "/lib/x"}, Exclude: []string{"/no/**", "/b"}, Hashed: []string{"!nor"}})
	if got := rules.Unmatched(); got != nil {
		t.Errorf("before anything was listed: %q", got)
	}
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	write(t, dirs[0], "a")
	write(t, dirs[1], "b", "c")
	var all sync.WaitGroup
	for range 4 {
		for _, dir := range dirs {
			all.Go(func() { planFor(t, dir, rules, signing.Observer{}) })
		}
	}
	all.Wait()
	want := []selection.Pattern{{List: selection.Include, Text: "/lib/x"}, {List: selection.Exclude, Text: "/no/**"}, {List: selection.Hashed, Text: "!nor"}}
	if got := rules.Unmatched(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	tree, err := rootfs.Open(dirs[1], rootfs.Options{})
	ok(t, err)
	defer tree.Close()
	for range selection.New(tree, rules).Entries(t.Context()) {
		break
	}
	if got := rules.Unmatched(); got != nil {
		t.Errorf("after a listing that was cut short: %q", got)
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
	out, err := exec.Command("sh", "-c", `cd "$1" && echo 'int f(void){return 1;}' >f.c && gcc -c f.c -o object && gcc -shared f.c -o lib.so.1`, "sh", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
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
	paths, reasons := selected(t, dir, selection.Options{Files: selection.Executable})
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

// All names of a hard link are treated like the one that the value is attached to.
func TestHardLinks(t *testing.T) {
	const otherwise = "is a hard link of a name that the patterns treat otherwise"
	for name, c := range map[string]struct {
		options selection.Options
		pending string   // the name that the value is attached to
		links   int64    // the further names
		skipped []string // the names left out
		warning string
		hashed  bool
	}{
		"all":             {selection.Options{}, "a", 2, nil, "", false},
		"first excluded":  {selection.Options{Exclude: []string{"/a"}}, "b", 1, []string{"a"}, "further hard links", false},
		"first left out":  {selection.Options{Include: []string{"/b", "/c"}}, "b", 1, []string{"a"}, "further hard links", false},
		"last excluded":   {selection.Options{Exclude: []string{"/c"}}, "a", 1, []string{"c"}, "further hard links", false},
		"all excluded":    {selection.Options{Exclude: []string{"[abc]"}}, "", 0, []string{"a", "b", "c"}, "", false},
		"one hashed":      {selection.Options{Hashed: []string{"/b"}}, "a", 2, nil, "b: " + otherwise, false},
		"first hashed":    {selection.Options{Hashed: []string{"/a"}}, "a", 2, nil, "b: " + otherwise, true},
		"excluded hashed": {selection.Options{Hashed: []string{"/a"}, Exclude: []string{"/a"}}, "b", 1, []string{"a"}, "further hard links", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "a")
			link(t, dir, "a", "b")
			link(t, dir, "a", "c")
			var ev events
			c.options.Observe = ev.observer()
			plan := planFor(t, dir, compile(t, c.options), c.options.Observe)
			var pending, skipped []string
			for r, err := range plan.Records() {
				ok(t, err)
				switch {
				case r.Pending():
					pending = append(pending, r.Path)
				case r.Status() == signing.Skipped:
					skipped = append(skipped, r.Path)
				}
				if r.Status() != signing.Skipped && r.HashOnly != c.hashed {
					t.Errorf("%s is hashed: %v", r.Path, r.HashOnly)
				}
			}
			if n := plan.Counts(); strings.Join(pending, " ") != c.pending || !slices.Equal(skipped, c.skipped) || n.Links != c.links {
				t.Errorf("attaches to %q, skips %q, %+v", pending, skipped, n)
			}
			if warned := strings.Join(ev.warnings, "\n"); (c.warning == "") != (warned == "") || !strings.Contains(warned, c.warning) {
				t.Errorf("warned of %q, want %q", warned, c.warning)
			}
		})
	}
}

// The kernel loads a module or firmware by the name that Executable selects. It must be
// signed even if another name of the inode comes first.
func TestHardLinkSelectedByAnotherName(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a-copy", "plain", "elf")
	link(t, dir, "a-copy", "lib/firmware/blob")
	link(t, dir, "plain", "plain2")
	program, err := os.ReadFile("/bin/true")
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(dir, "elf"), program, 0o644))
	link(t, dir, "elf", "m.ko")
	paths, reasons := selected(t, dir, selection.Options{Files: selection.Executable})
	if !slices.Equal(paths, []string{"elf", "lib/firmware/blob", "m.ko"}) || reasons["a-copy"] != "not executable" || reasons["plain2"] != "not executable" {
		t.Errorf("signs %q, %v", paths, reasons)
	}
	if n := planFor(t, dir, compile(t, selection.Options{Files: selection.Executable}), signing.Observer{}).Counts(); n.Pending() != 2 || n.Links != 1 {
		t.Errorf("%+v", n)
	}
}

// list is a container that has its entries in memory.
type list []signing.Entry

func (l list) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for _, e := range l {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Packages have digests instead of contents, and state which files are ELF files.
func TestSelectExecutableByTraits(t *testing.T) {
	stated := func(path string, mode fs.FileMode, traits signing.Traits) signing.Entry {
		return signing.Entry{Path: path, Mode: mode, Traits: traits, Digests: []signing.Digest{{Hash: ima.SHA256, Sum: make([]byte, 32)}}}
	}
	rules := compile(t, selection.Options{Files: selection.Executable})
	const knows, elf = signing.KnowsELF, signing.KnowsELF | signing.ELF
	var got []string
	for e, err := range selection.New(list{
		stated("bin/script", 0o755, knows), stated("lib/x.so", 0o644, elf), stated("etc/conf", 0o644, knows), stated("lib/m.ko.xz", 0o644, 0),
		{Path: "bin", Mode: fs.ModeDir | 0o755, Reason: "directory"}, {Path: "var/log", Mode: 0o644, Reason: "ghost"}, stated("unknown", 0o644, 0), stated("never", 0o755, 0),
	}, rules).Entries(t.Context()) {
		if err != nil {
			if !errors.Is(err, selection.ErrUnknown) || !strings.HasPrefix(err.Error(), "unknown: ") || e.Path != "" {
				t.Errorf("%q: %v", e.Path, err)
			}
			continue
		}
		got = append(got, e.Path+" "+e.Reason)
	}
	want := []string{"bin/script ", "lib/x.so ", "etc/conf not executable", "lib/m.ko.xz ", "bin directory", "var/log ghost"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A file that cannot be read is an error, and does not count as not executable.
func TestSelectExecutableReads(t *testing.T) {
	broken := errors.New("broken")
	for _, group := range []string{"", "g"} {
		src := list{{Path: "f", Mode: 0o644, Group: group, Open: func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(iotest.ErrReader(broken))}, nil
		}}}
		engine, err := signing.New(signing.Options{})
		ok(t, err)
		plan, err := engine.Plan(t.Context(), selection.New(src, compile(t, selection.Options{Files: selection.Executable})))
		if !errors.Is(err, broken) {
			t.Errorf("group %q: %v, %v", group, plan, err)
		}
	}
}
