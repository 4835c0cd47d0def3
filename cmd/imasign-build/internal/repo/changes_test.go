package repo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// meddling returns a createrepo_c that runs a shell script in the repository after it is done,
// only the first time or every time.
func meddling(t testing.TB, dir, script string, always bool) string {
	t.Helper()
	tool, done := filepath.Join(t.TempDir(), "createrepo_c"), filepath.Join(t.TempDir(), "done")
	if always {
		script = "n=$(date +%N); " + script
	} else {
		script = "[ -e " + done + " ] || { touch " + done + "\n" + script + "\n}"
	}
	harness.Executable(t, tool, []byte("#!/bin/sh\nset -e\ncreaterepo_c --quiet \"$@\"\ncd "+dir+"\n"+script+"\n"))
	return tool
}

// changes are what somebody can do to a repository. Each can be done after the others.
func changes(t testing.TB) []struct{ what, script string } {
	spare := packages.Copy(t, "xz", t.TempDir())
	path := func(name string) string { return "Packages/i/" + filepath.Base(packages.Path(t, name)) }
	return []struct{ what, script string }{
		{"added", "cp " + spare + " ."},
		{"removed", "rm " + path("empty")},
		{"replaced", "cp " + spare + " new; mv new " + path("rich")},
		{"rewritten with its old mtime", "touch -r " + path("zstd") + " keep; head -c $(stat -c %s " + path("zstd") + ") /dev/zero >zeros; cp " + path("zstd") + " whole; " +
			"cat zeros >" + path("zstd") + "; cat whole >" + path("zstd") + "; touch -r keep " + path("zstd") + "; rm keep zeros whole"},
		{"renamed", "mv " + path("no-reserve") + " other.rpm"},
		{"other file", "echo news >README"},
		{"retargeted", "ln -sfn images LIESMICH"},
		{"mode", "chmod 600 images/boot.img"},
		{"metadata", "echo '<x/>' >x.xml; modifyrepo_c --mdtype=vendor x.xml repodata >/dev/null; rm x.xml"},
		{"directory", "mkdir -p new/sub; cp " + spare + " new/sub/b.rpm"},
		{"target of a link", "cp " + spare + " ../outside.rpm"},
	}
}

// TestDifferences finds each change.
func TestDifferences(t *testing.T) {
	dir, _ := repository(t)
	packages.Copy(t, "noarch", filepath.Dir(dir))
	check(t, os.Rename(filepath.Join(filepath.Dir(dir), filepath.Base(packages.Path(t, "noarch"))), filepath.Join(filepath.Dir(dir), "outside.rpm")))
	check(t, os.Symlink("../outside.rpm", filepath.Join(dir, "outside.rpm")))
	r, err := newTask(Options{Dir: dir})
	check(t, err)
	for _, c := range changes(t) {
		s, err := openSite(t.Context(), r.Dir)
		check(t, err)
		check(t, r.unchanged(t.Context(), s))
		command(t, "sh", "-ec", "cd "+dir+"; "+c.script)
		var moved *movedError
		if err := r.unchanged(t.Context(), s); !errors.As(err, &moved) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestLostUpdate checks that the signed repository has what somebody else changes during a
// run.
func TestLostUpdate(t *testing.T) {
	script := ""
	for _, c := range changes(t) {
		script += c.script + "\n"
	}
	for _, how := range []string{"swap", "besides", "in place"} {
		dir, out := repository(t)
		o := Options{Dir: dir, Output: out, Swap: how == "swap", Createrepo: meddling(t, dir, script, false)}
		now := dir
		switch how {
		case "besides":
			now = out
		case "in place":
			o.Output, o.InPlace = "", true
		}
		_, w, err := run(t, o)
		check(t, err)
		if !w.have("and included") {
			t.Errorf("%s: %q", how, w.list)
		}
		listed := signed(t, now)
		for _, name := range []string{filepath.Base(packages.Path(t, "xz")), "other.rpm", "new/sub/b.rpm"} {
			if !listed[name] {
				t.Errorf("%s: %s is lost: %v", how, name, listed)
			}
		}
		if len(listed) != 6 || size(now, "README") != 5 || size(now, "LIESMICH/boot.img") != 5 || !slices.Contains(kinds(t, now), "vendor") {
			t.Errorf("%s: %v, %q", how, listed, kinds(t, now))
		}
	}
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

func size(dir, name string) int64 {
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return -1
	}
	return info.Size()
}

// TestWhilePackages checks that the signed repository has changes made while packages are being
// signed, and that the results have each package once.
func TestWhilePackages(t *testing.T) {
	dir, out := repository(t)
	s, err := signer()
	check(t, err)
	var names []string
	_, err = sign(t.Context(), s, Options{Dir: dir, Output: out, Swap: true, Jobs: 2}, func(r result) error {
		if names = append(names, r.Name); len(names) == 1 {
			packages.Copy(t, "xz", dir)
		}
		return nil
	})
	check(t, err)
	signed(t, dir)
	if len(names) != 6 || names[5] != "imatest-xz-1.0-1.x86_64" {
		t.Errorf("%q", names)
	}
}

// TestAlwaysChanged checks that a repository that changes all the time is not exchanged, and
// that the next run continues.
func TestAlwaysChanged(t *testing.T) {
	dir, out := repository(t)
	_, _, err := run(t, Options{Dir: dir, Output: out, Swap: true, Createrepo: meddling(t, dir, "echo $n >news", true)})
	if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "news") {
		t.Error(err)
	}
	alone(t, dir, "repo", "signed.partial")
	for _, u := range units(t, dir) {
		if b, err := os.ReadFile(u.Path); err != nil || strings.Contains(string(b[:200]), "\x00\x00\x01\x12") {
			t.Errorf("%s: %v", u.Path, err)
		}
	}
	mustRun(t, Options{Dir: dir, Output: out, Swap: true})
	signed(t, dir)
}

// TestLinkRetargeted changes the link to the repository during a run.
func TestLinkRetargeted(t *testing.T) {
	dir, out := repository(t)
	link := filepath.Join(filepath.Dir(dir), "current")
	check(t, os.Symlink("repo", link))
	other := filepath.Join(filepath.Dir(dir), "other")
	check(t, os.Mkdir(other, 0o755))
	before := snapshot(t, dir)
	_, _, err := run(t, Options{Dir: link, Output: out, Swap: true, Createrepo: meddling(t, filepath.Dir(dir), "ln -sfn other current", false)})
	if !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	same(t, dir, before)
}

// TestLateChanges checks that changes in the moment of the exchange are found in the old
// repository.
func TestLateChanges(t *testing.T) {
	dir, _ := repository(t)
	s, err := openSite(t.Context(), dir)
	check(t, err)
	moved := dir + ".old"
	check(t, os.Rename(dir, moved))
	late, err := s.lateChanges(moved)
	if check(t, err); len(late) != 0 {
		t.Errorf("%q", late)
	}
	packages.Copy(t, "xz", moved)
	check(t, os.Remove(filepath.Join(moved, "LIESMICH")))
	check(t, os.Chtimes(filepath.Join(moved, "README"), time.Time{}, time.Unix(1, 0)))
	late, err = s.lateChanges(moved)
	check(t, err)
	slices.Sort(late)
	if want := []string{"LIESMICH was removed", "README was changed", filepath.Base(packages.Path(t, "xz")) + " was added"}; !slices.Equal(late, want) {
		t.Errorf("%q", late)
	}
}

// TestBusy checks that the second of two runs fails before it signs anything, whatever the two
// would write.
func TestBusy(t *testing.T) {
	dir, out := repository(t)
	swap, inPlace, besides := Options{Dir: dir, Output: out, Swap: true}, Options{Dir: dir, InPlace: true}, Options{Dir: dir, Output: out + "1"}
	for _, c := range []struct {
		first, second Options
		busy          bool
	}{{swap, Options{Dir: dir, Output: out + "2", Swap: true}, true}, {swap, besides, true}, {besides, inPlace, true}, {besides, Options{Dir: dir, Output: out + "3"}, false}, {inPlace, inPlace, true}} {
		s, err := signer()
		check(t, err)
		var results []result
		var second error
		once := true
		_, err = sign(t.Context(), s, c.first, func(result) error {
			if once {
				once = false
				results, _, second = run(t, c.second)
			}
			return nil
		})
		check(t, err)
		if busy := errors.Is(second, ErrBusy); busy != c.busy || busy && len(results) > 0 {
			t.Errorf("%+v: %v, %d results", c.second, second, len(results))
		}
		for _, dir := range []string{out, out + "1", out + "3"} {
			check(t, os.RemoveAll(dir))
		}
	}
	if _, err := Refresh(t.Context(), Options{Dir: dir, Observe: signing.NewObserver(func(signing.Event) {})}); err != nil {
		t.Error(err)
	}
}

// TestAdditions publishes, refuses or leaves packages that the metadata does not list.
func TestAdditions(t *testing.T) {
	for _, how := range []string{"swap", "in place", "refresh"} {
		dir, out := repository(t)
		added := packages.Copy(t, "xz", filepath.Join(dir, "Packages"))
		check(t, os.Rename(added, filepath.Join(dir, "Packages/-odd name.rpm")))
		added = filepath.Join(dir, "Packages/-odd name.rpm")
		do := func(o Options) (Summary, error) {
			o.Dir = dir
			switch how {
			case "swap":
				o.Output, o.Swap = out, true
			case "in place":
				o.InPlace = true
			case "refresh":
				return Refresh(t.Context(), o)
			}
			s, err := signer()
			check(t, err)
			return sign(t.Context(), s, o, func(r result) error { return r.Err })
		}
		before := snapshot(t, dir)
		if _, err := do(Options{Additions: Refuse}); !errors.Is(err, ErrUnlisted) || !strings.Contains(err.Error(), added) {
			t.Errorf("%s: %v", how, err)
		}
		same(t, dir, before)
		plain := sum(t, added)
		got, err := do(Options{Additions: Leave})
		check(t, err)
		check(t, os.RemoveAll(out))
		if !slices.Equal(got.Left, []string{added}) || len(got.Added) > 0 || sum(t, added) != plain {
			t.Errorf("%s: left: %+v", how, got)
		}
		got, err = do(Options{Additions: Publish})
		check(t, err)
		if !slices.Equal(got.Added, []string{added}) || got.Repositories != 1 {
			t.Errorf("%s: published: %+v", how, got)
		}
		if listed := agree(t, dir); !listed["Packages/-odd name.rpm"] {
			t.Errorf("%s: %v", how, listed)
		}
		if how != "refresh" {
			signed(t, dir)
		}
	}
}

// TestRemovals names or refuses a listed package that is missing.
func TestRemovals(t *testing.T) {
	dir, out := repository(t)
	gone := filepath.Join(dir, "Packages/i", filepath.Base(packages.Path(t, "rich")))
	pkgid, _, _ := sumsOf(t, dir, "rich")
	addMetadata(t, dir, "susedata", susedata(pkgid))
	check(t, os.Remove(gone))
	before := snapshot(t, dir)
	if _, _, err := run(t, Options{Dir: dir, Output: out, Removals: Refuse}); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), gone) {
		t.Error(err)
	}
	same(t, dir, before)
	_, w, err := run(t, Options{Dir: dir, Output: out})
	check(t, err)
	if !w.have(gone) || !w.have("susedata metadata has checksums of packages that are gone (1)") {
		t.Errorf("%q", w.list)
	}
	if listed := agree(t, out); len(listed) != 4 {
		t.Errorf("%v", listed)
	}
}
