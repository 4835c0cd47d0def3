package repo

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestSign makes a signed repository beside an old one, which does not change.
func TestSign(t *testing.T) {
	dir, out := repository(t)
	before := snapshot(t, dir)
	results := mustRun(t, Options{Dir: dir, Output: out})
	same(t, dir, before)
	signed(t, out)
	alone(t, dir, "repo", "signed")
	if len(results) != 5 || !slices.IsSortedFunc(results, func(a, b result) int { return strings.Compare(a.Path, b.Path) }) {
		t.Errorf("%v", results)
	}
	for _, r := range results {
		if r.Changed != (strings.Contains(r.Name, "zstd") || strings.Contains(r.Name, "rich") || strings.Contains(r.Name, "no-reserve")) {
			t.Errorf("%s: changed %t", r.Name, r.Changed)
		}
	}
	if a, b := kinds(t, dir), kinds(t, out); !slices.Equal(a, b) || !slices.Contains(b, "group") || !slices.Contains(b, "modules") || !slices.Contains(b, "updateinfo") {
		t.Errorf("metadata of types %q, was %q", b, a)
	}
	wantTags(t, dir, out)
	wantRest(t, dir, out)
	config := filepath.Join(t.TempDir(), "dnf.conf")
	write(t, config, "[main]\n")
	if out := command(t, "dnf", "--noplugins", "--config="+config, "--releasever=1", "--installroot="+t.TempDir(), "--repofrompath=test,file://"+out, "--repo=test",
		"--setopt=reposdir=/dev/null", "--setopt=cachedir="+t.TempDir(), "--setopt=module_platform_id=platform:test", "--quiet", "repoquery"); strings.Count(out, "imatest-") < 4 {
		t.Errorf("dnf: %s", out)
	}
}

// wantTags checks that the tags of repomd.xml and the unpacked additional metadata are the same
// in every byte.
func wantTags(t *testing.T, dir, out string) {
	t.Helper()
	a, err := readRepomd(dir)
	check(t, err)
	b, err := readRepomd(out)
	check(t, err)
	if !slices.Equal(a.tagArguments(), b.tagArguments()) || len(a.tagArguments()) != 3 {
		t.Errorf("tags %q, were %q", b.tagArguments(), a.tagArguments())
	}
	for _, kind := range []string{"group", "modules", "updateinfo"} {
		if sum(t, filepath.Join(dir, a.find(kind).Location.Href)) != sum(t, filepath.Join(out, b.find(kind).Location.Href)) {
			t.Errorf("%s changed", kind)
		}
	}
}

// wantRest checks that everything except packages and metadata is shared.
func wantRest(t *testing.T, dir, out string) {
	t.Helper()
	for _, name := range []string{"README", "images/boot.img", "Packages/i/" + filepath.Base(packages.Path(t, "empty")), filepath.Base(packages.Path(t, "source"))} {
		a, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		b, err := os.Stat(filepath.Join(out, name))
		check(t, err)
		if !os.SameFile(a, b) {
			t.Errorf("%s is not shared", name)
		}
	}
	if to, err := os.Readlink(filepath.Join(out, "LIESMICH")); err != nil || to != "README" {
		t.Errorf("link to %q, %v", to, err)
	}
}

// TestSameSecond checks that packages get new checksums if they keep their size and are signed
// in the second in which they were built, also with an mtime in the future.
func TestSameSecond(t *testing.T) {
	for name, when := range map[string]time.Time{"now": time.Now(), "future": time.Now().Add(time.Hour).Truncate(time.Second)} {
		dir, out := repository(t)
		path := filepath.Join(dir, "Packages/i", filepath.Base(packages.Path(t, "zstd")))
		check(t, os.Chtimes(path, when, when))
		packages.CreateRepo(t, dir, "--general-compress-type=gz")
		was, err := os.Stat(path)
		check(t, err)
		mustRun(t, Options{Dir: dir, Output: out})
		is, err := os.Stat(filepath.Join(out, "Packages/i", filepath.Base(path)))
		check(t, err)
		if is.Size() != was.Size() {
			t.Errorf("%s: size %d, was %d", name, is.Size(), was.Size())
		}
		signed(t, out)
	}
}

func TestSwap(t *testing.T) {
	dir, out := repository(t)
	before := snapshot(t, dir)
	mustRun(t, Options{Dir: dir, Output: out, Swap: true})
	signed(t, dir)
	same(t, out, before)
	alone(t, dir, "repo", "signed")
}

// TestSwapThroughLink checks that a link to the repository stays, and leads to the signed one.
func TestSwapThroughLink(t *testing.T) {
	dir, out := repository(t)
	before := snapshot(t, dir)
	link := filepath.Join(filepath.Dir(dir), "current")
	check(t, os.Symlink("repo", link))
	mustRun(t, Options{Dir: link, Output: out, Swap: true})
	if to, err := os.Readlink(link); err != nil || to != "repo" {
		t.Errorf("link to %q, %v", to, err)
	}
	signed(t, link)
	same(t, out, before)
}

func TestInPlace(t *testing.T) {
	dir, _ := repository(t)
	_, w, err := run(t, Options{Dir: dir, InPlace: true})
	check(t, err)
	signed(t, dir)
	alone(t, dir, "repo")
	if !w.have("changed in place") {
		t.Errorf("%q", w.list)
	}
	if got := kinds(t, dir); !slices.Contains(got, "modules") {
		t.Errorf("%q", got)
	}
}

func TestDryRun(t *testing.T) {
	dir, out := repository(t)
	before := snapshot(t, filepath.Dir(dir))
	s, err := signer()
	check(t, err)
	s.DryRun = true
	results := mustRun(t, Options{Dir: dir, Output: out}, s)
	same(t, filepath.Dir(dir), before)
	if len(results) != 5 {
		t.Errorf("%d results", len(results))
	}
}

func TestRefused(t *testing.T) {
	dir, out := repository(t)
	check(t, os.Mkdir(out, 0o755))
	before := snapshot(t, filepath.Dir(dir))
	none := t.TempDir()
	damaged := t.TempDir()
	check(t, os.Mkdir(filepath.Join(damaged, "repodata"), 0o755))
	write(t, repomdPath(damaged), "<repomd><data>")
	for name, c := range map[string]struct {
		o    Options
		want error
		say  string
	}{
		"output exists": {Options{Dir: dir, Output: out}, ErrExists, out},
		"output is it":  {Options{Dir: dir, Output: dir + "/."}, ErrExists, "is part of the repository"},
		"output inside": {Options{Dir: dir, Output: filepath.Join(dir, "new")}, nil, "inside"},
		"no repository": {Options{Dir: none, Output: out + "2"}, ErrNoRepository, "repomd.xml"},
		"damaged":       {Options{Dir: damaged, Output: out + "2"}, ErrNoRepository, ""},
		"missing":       {Options{Dir: filepath.Join(none, "x"), Output: out + "2"}, ErrNoRepository, ""},
		"no directory":  {Options{Dir: dir, Output: filepath.Join(none, "a/b")}, fs.ErrNotExist, ""},
		"no createrepo": {Options{Dir: dir, Output: out + "2", Createrepo: "/nonexistent/createrepo_c"}, fs.ErrNotExist, "createrepo_c"},
	} {
		results, _, err := run(t, c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) || len(results) > 0 {
			t.Errorf("%s: %v, %d results", name, err, len(results))
		}
	}
	same(t, filepath.Dir(dir), before)
}

// TestBadPackage checks that a bad package leaves the repository unchanged, and that the next
// run continues when the package is whole.
func TestBadPackage(t *testing.T) {
	dir, out := repository(t)
	bad := filepath.Join(dir, "Packages/i", filepath.Base(packages.Path(t, "rich")))
	whole, err := os.ReadFile(bad)
	check(t, err)
	check(t, os.Truncate(bad, 11000))
	before := snapshot(t, dir)
	results, _, err := run(t, Options{Dir: dir, Output: out})
	if !errors.Is(err, ErrPackages) || len(results) != 5 {
		t.Errorf("%v, %d results", err, len(results))
	}
	for _, r := range results {
		if (r.Err != nil) != (r.Path == bad) {
			t.Errorf("%s: %v", r.Path, r.Err)
		}
	}
	same(t, dir, before)
	alone(t, dir, "repo", "signed.partial")
	check(t, os.WriteFile(bad, whole, 0o644))
	mustRun(t, Options{Dir: dir, Output: out})
	signed(t, out)
	alone(t, dir, "repo", "signed")
}

func TestTakeEnds(t *testing.T) {
	dir, out := repository(t)
	before := snapshot(t, dir)
	s, err := signer()
	check(t, err)
	_, err = sign(t.Context(), s, Options{Dir: dir, Output: out}, func(result) error { return errStop })
	if !errors.Is(err, errStop) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err = sign(ctx, s, Options{Dir: dir, Output: out}, func(result) error { cancel(errStop); return nil })
	if !errors.Is(err, errStop) {
		t.Error(err)
	}
	same(t, dir, before)
	mustRun(t, Options{Dir: dir, Output: out})
	signed(t, out)
}

// TestKilled kills runs while they sign packages and run createrepo_c. The next run continues
// and finds what changed in the meantime.
func TestKilled(t *testing.T) {
	slow := filepath.Join(t.TempDir(), "createrepo_c")
	harness.Executable(t, slow, []byte("#!/bin/sh\nfor d; do :; done\nmkdir \"$d/.repodata\"\n: > \"$d/at-createrepo\"\nexec sleep 100\n"))
	for _, at := range []string{"packages", "createrepo"} {
		dir, out := repository(t)
		before := snapshot(t, dir)
		sign := filepath.Join(t.TempDir(), "first")
		cmd := childCommand(t, dir, out, childResult+"="+sign)
		if at == "createrepo" {
			sign = filepath.Join(out+".partial", "at-createrepo")
			cmd = childCommand(t, dir, out, childTool+"="+slow)
		}
		check(t, cmd.Start())
		appears(t, sign)
		if _, _, err := run(t, Options{Dir: dir, Output: out}); !errors.Is(err, ErrBusy) {
			t.Errorf("%s: second run: %v", at, err)
		}
		check(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		same(t, dir, before)
		alone(t, dir, "repo", "signed.partial")
		// The repository loses and gets files in the meantime.
		check(t, os.Remove(filepath.Join(dir, "README")))
		check(t, os.Remove(filepath.Join(dir, "LIESMICH")))
		check(t, os.Symlink("images", filepath.Join(dir, "LIESMICH")))
		check(t, os.Remove(filepath.Join(dir, "Packages/i", filepath.Base(packages.Path(t, "empty")))))
		packages.Copy(t, "xz", dir)
		packages.CreateRepo(t, dir, "--general-compress-type=gz", "--update")
		mustRun(t, Options{Dir: dir, Output: out})
		signed(t, out)
		alone(t, dir, "repo", "signed")
		wantNames(t, dir, out)
	}
}

func appears(t *testing.T, path string) {
	t.Helper()
	for range 3000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not appear", path)
}

// wantNames checks that both repositories have the same names, except metadata.
func wantNames(t *testing.T, dir, out string) {
	t.Helper()
	list := func(dir string) (names []string) {
		for name := range snapshot(t, dir) {
			if !strings.HasPrefix(name, "repodata") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	if a, b := list(dir), list(out); !slices.Equal(a, b) {
		t.Errorf("%q\nthe repository has %q", b, a)
	}
}

// TestFailingCreaterepo checks that the error has the output of createrepo_c, and that the
// repository is unchanged.
func TestFailingCreaterepo(t *testing.T) {
	dir, out := repository(t)
	before := snapshot(t, dir)
	tool := filepath.Join(t.TempDir(), "createrepo_c")
	harness.Executable(t, tool, []byte("#!/bin/sh\necho no room >&2\nexit 7\n"))
	if _, _, err := run(t, Options{Dir: dir, Output: out, Createrepo: tool}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
	// A createrepo_c that loses the groups.
	harness.Executable(t, tool, []byte("#!/bin/sh\nfor d; do :; done\nexec createrepo_c --quiet \"$d\"\n"))
	if _, _, err := run(t, Options{Dir: dir, Output: out, Createrepo: tool}); err == nil || !strings.Contains(err.Error(), "group") {
		t.Error(err)
	}
	same(t, dir, before)
	mustRun(t, Options{Dir: dir, Output: out})
	signed(t, out)
}

// TestUnknownCompression checks that an error about a compression that createrepo_c does not
// know says what to do.
func TestUnknownCompression(t *testing.T) {
	dir, out := repository(t)
	for _, says := range []string{`Unknown/Unsupported compression type "zstd"`, `Unknown compression type "zstd"`} {
		tool := filepath.Join(t.TempDir(), "createrepo_c")
		harness.Executable(t, tool, []byte("#!/bin/sh\necho '"+says+"' >&2\nexit 1\n"))
		if _, _, err := run(t, Options{Dir: dir, Output: out, Createrepo: tool}); err == nil || !strings.Contains(err.Error(), "use a newer createrepo_c") {
			t.Error(err)
		}
	}
}

func TestOddFiles(t *testing.T) {
	dir, out := repository(t)
	check(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	if _, _, err := run(t, Options{Dir: dir, Output: out}); err == nil || !strings.Contains(err.Error(), "fifo") {
		t.Error(err)
	}
	check(t, os.Remove(filepath.Join(dir, "fifo")))
	check(t, os.Mkdir(filepath.Join(dir, ".repodata"), 0o755)) // left by a killed createrepo_c
	mustRun(t, Options{Dir: dir, Output: out})
	signed(t, out)
}

// TestAgain signs a signed repository: only the date of the metadata changes.
func TestAgain(t *testing.T) {
	dir, out := repository(t)
	mustRun(t, Options{Dir: dir, Output: out})
	for _, r := range mustRun(t, Options{Dir: out, Output: out + "2"}) {
		if r.Changed {
			t.Errorf("%s changed", r.Name)
		}
	}
	signed(t, out+"2")
	for _, u := range units(t, out) {
		a, err := os.Stat(u.Path)
		check(t, err)
		b, err := os.Stat(strings.Replace(u.Path, out, out+"2", 1))
		check(t, err)
		if !os.SameFile(a, b) {
			t.Errorf("%s is not shared", u.Path)
		}
	}
}

// TestRebuiltWithItsTime replaces a package by a signed one with the same size and mtime, as
// builds have that clamp mtimes to SOURCE_DATE_EPOCH.
func TestRebuiltWithItsTime(t *testing.T) {
	for _, o := range []Options{{}, {InPlace: true}} {
		dir, out := repository(t)
		mustRun(t, Options{Dir: dir, Output: out, Swap: true})
		path := filepath.Join(dir, "Packages/i", filepath.Base(packages.Path(t, "zstd")))
		was, err := os.Stat(path)
		check(t, err)
		text, err := os.ReadFile(path)
		check(t, err)
		const nameInLead = 10 // rpm does not read it
		text[nameInLead]++
		check(t, os.Remove(path))
		write(t, path, string(text))
		check(t, os.Chtimes(path, was.ModTime(), was.ModTime()))
		o.Dir, o.Output = dir, ""
		if !o.InPlace {
			o.Output = out + "2"
		}
		mustRun(t, o)
		signed(t, cmp.Or(o.Output, dir))
	}
}

// TestOwners checks that signed packages, metadata and directories keep their owners.
func TestOwners(t *testing.T) {
	dir, out := repository(t)
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // only root can change owners
		uid, gid = 1, 2
	}
	path := "Packages/i/" + filepath.Base(packages.Path(t, "zstd"))
	for _, name := range []string{".", "Packages", path, "repodata"} {
		check(t, os.Chown(filepath.Join(dir, name), uid, gid))
	}
	check(t, os.Chmod(dir, 0o775|fs.ModeSetgid))
	write(t, filepath.Join(dir, "repodata/mine"), "somebody else's")
	mustRun(t, Options{Dir: dir, Output: out, Swap: true})
	for _, name := range []string{".", "Packages", path, "repodata", "repodata/repomd.xml"} {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		if is := info.Sys().(*syscall.Stat_t); int(is.Uid) != uid || int(is.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, not %d:%d", name, is.Uid, is.Gid, uid, gid)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o775 || info.Mode()&fs.ModeSetgid == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	signed(t, dir)
}

// TestNeverOverwritten puts something at the output during a run.
func TestNeverOverwritten(t *testing.T) {
	dir, out := repository(t)
	s, err := signer()
	check(t, err)
	_, err = sign(t.Context(), s, Options{Dir: dir, Output: out}, func(result) error {
		return os.MkdirAll(out, 0o755)
	})
	if !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
