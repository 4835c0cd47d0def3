package repo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestSite signs a directory with several repositories, one inside another, and a package that
// two of them list.
func TestSite(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		top := filepath.Join(t.TempDir(), "top")
		for dir, name := range map[string]string{"x86_64/Packages": "zstd", "noarch": "noarch", "all/inner": "rich"} {
			check(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
			packages.Copy(t, name, filepath.Join(top, dir))
		}
		for _, dir := range []string{"x86_64", "noarch", "all/inner", "all"} {
			packages.CreateRepo(t, filepath.Join(top, dir), "--general-compress-type=gz")
		}
		packages.Copy(t, "xz", filepath.Join(top, "all/inner"))
		homeless := packages.Copy(t, "empty", top)
		s, err := signer()
		check(t, err)
		o := Options{Dir: top, Output: top + ".new", Swap: true}
		if inPlace {
			o = Options{Dir: top, InPlace: true}
		}
		refuse := o
		refuse.Additions = Refuse
		if _, err := sign(t.Context(), s, refuse, func(r result) error { return r.Err }); !errors.Is(err, ErrUnlisted) || !strings.Contains(err.Error(), homeless) {
			t.Errorf("a package in no repository: %v", err)
		}
		n, w := 0, &warnings{}
		o.Observe = signing.NewObserver(w.observe)
		got, err := sign(t.Context(), s, o, func(r result) error { n++; return r.Err })
		check(t, err)
		if !w.have(homeless+" is in no repository") || !slices.Equal(got.Left, []string{homeless}) {
			t.Errorf("a package in no repository: %+v, %q", got, w.list)
		}
		if found, _ := verify(t, VerifyOptions{Dir: top}); !slices.Equal(found, []string{"unlisted " + filepath.Base(homeless) + ": it is in no repository"}) {
			t.Errorf("%q", found)
		}
		if got.Repositories != 4 || len(got.Added) != 2 || n != 4 {
			t.Errorf("%+v, %d results", got, n)
		}
		for _, dir := range []string{"x86_64", "noarch", "all", "all/inner"} {
			signed(t, filepath.Join(top, dir))
		}
		if listed := agree(t, filepath.Join(top, "all")); len(listed) != 2 {
			t.Errorf("%v", listed)
		}
	}
}

// TestNestedAlone checks that an outer repository that lists nothing of an inner one does not
// get its additions.
func TestNestedAlone(t *testing.T) {
	dir, out := repository(t)
	inner := filepath.Join(dir, "debug")
	check(t, os.Mkdir(inner, 0o755))
	packages.Copy(t, "noarch", inner)
	packages.CreateRepo(t, inner, "--general-compress-type=gz")
	packages.Copy(t, "xz", inner)
	mustRun(t, Options{Dir: dir, Output: out})
	signed(t, filepath.Join(out, "debug"))
	text := first(unpack(t, out, "primary"))
	if strings.Contains(text, "debug/") {
		t.Error(text)
	}
}

// TestUnlistable refuses or leaves packages whose names metadata cannot have.
func TestUnlistable(t *testing.T) {
	for _, name := range []string{"a\n.rpm", "a\x01.rpm", "\xff.rpm"} {
		dir, out := repository(t)
		check(t, os.Rename(packages.Copy(t, "xz", dir), filepath.Join(dir, name)))
		if _, _, err := run(t, Options{Dir: dir, Output: out}); err == nil || !strings.Contains(err.Error(), "rename it") {
			t.Errorf("%q: %v", name, err)
		}
		alone(t, dir, "repo", "signed.partial")
		_, _, err := run(t, Options{Dir: dir, Output: out, Additions: Leave})
		check(t, err)
	}
}

// TestHostileMetadata checks that metadata that leads out of the repository or cannot be read
// is refused before anything is written.
func TestHostileMetadata(t *testing.T) {
	dir, out := repository(t)
	packages.Copy(t, "xz", filepath.Dir(dir))
	href := func(text string) string {
		return `<metadata packages="1"><package type="rpm"><name>a</name><checksum type="sha256" pkgid="YES">` + strings.Repeat("a", 64) + `</checksum><size package="1"/><location href="` + text + `"/></package></metadata>`
	}
	for name, text := range map[string]string{
		"outside": href("../" + filepath.Base(packages.Path(t, "xz"))), "absolute": href("/etc/passwd"), "line break": href("a&#10;b.rpm"), "no location": href(""),
		"no checksum": strings.ReplaceAll(href("a.rpm"), strings.Repeat("a", 64), "x"), "no size": strings.ReplaceAll(href("a.rpm"), `package="1"/`, "/"),
		"cut": href("a.rpm")[:100], "long": href(strings.Repeat("a", 2*maxToken)), "long name": href(strings.Repeat("a", 5000)), "comment": "<metadata><!--" + strings.Repeat("-> ", 1+maxSpecial/3) + "--></metadata>",
		"deep": strings.Repeat("<a>", 200), "compressed": "\x1f\x8b\x08rubbish", "zchunk": "\x00ZCK1",
	} {
		r, err := readRepomd(dir)
		check(t, err)
		write(t, filepath.Join(dir, r.find("primary").Location.Href), text)
		if _, _, err := run(t, Options{Dir: dir, Output: out}); !errors.Is(err, ErrMetadata) {
			t.Errorf("%s: %v", name, err)
		}
		alone(t, dir, "repo", filepath.Base(packages.Path(t, "xz")))
	}
}

func TestParsePrimary(t *testing.T) {
	list, err := parsePrimary(strings.NewReader(`<?xml version="1.0" encoding="UTF-8"?><metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="r" packages="1">
<!-- > --><package type="rpm"><name>a</name><arch>x</arch><version epoch="0" ver="1" rel="2"/><checksum type="sha256" pkgid="YES">AB12</checksum><description><![CDATA[ <location href="no"/> ]]></description>
<size package="7" installed="8"/><location xml:base="http://x/" href="p/a&amp;b.rpm"/><format><rpm:requires><rpm:entry name="n"/><name>no</name></rpm:requires></format></package></metadata>`))
	check(t, err)
	if want := []listed{{"a-1-2.x", "p/a&b.rpm", "http://x/", "sha256", "ab12", 7}}; !slices.Equal(list, want) {
		t.Errorf("%+v", list)
	}
}

func FuzzPrimary(f *testing.F) {
	f.Add([]byte(`<metadata><package><name>a</name><checksum pkgid="YES" type="sha256">ab</checksum><size package="1"/><location href="a.rpm"/></package></metadata>`))
	f.Add([]byte("<!--"))
	f.Add([]byte("<package><package><size>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parsePrimary(strings.NewReader(string(text)))
		if err != nil {
			return
		}
		for _, p := range list {
			if p.href == "" || !isHex(p.pkgid) {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// TestBaseURL checks that an xml:base of all packages stays, and that several are refused.
func TestBaseURL(t *testing.T) {
	dir, out := repository(t)
	packages.CreateRepo(t, dir, "--general-compress-type=gz", "--baseurl=https://example.org/repo/")
	mustRun(t, Options{Dir: dir, Output: out})
	if text := first(unpack(t, out, "primary")); strings.Count(text, `xml:base="https://example.org/repo/"`) != 5 {
		t.Error(text)
	}
	elsewhere := filepath.Join(filepath.Dir(dir), "elsewhere")
	check(t, os.Mkdir(elsewhere, 0o755))
	check(t, os.Rename(filepath.Join(dir, "repodata"), filepath.Join(elsewhere, "repodata")))
	if _, _, err := run(t, Options{Dir: elsewhere, Output: out + "2"}); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "example.org") {
		t.Error(err)
	}
	packages.CreateRepo(t, dir, "--general-compress-type=gz")
	replacePrimary(t, dir, strings.Replace(first(unpack(t, dir, "primary")), "<location ", `<location xml:base="https://example.org/" `, 1))
	if _, _, err := run(t, Options{Dir: dir, Output: out + "2"}); !errors.Is(err, ErrMetadata) {
		t.Error(err)
	}
}

// TestPackageSums checks packages' checksums of another kind than those of repomd.xml.
func TestPackageSums(t *testing.T) {
	dir, out := repository(t)
	packages.CreateRepo(t, dir, "--general-compress-type=gz", "--checksum=sha512", "--repomd-checksum=sha1")
	mustRun(t, Options{Dir: dir, Output: out})
	r, err := readRepomd(out)
	check(t, err)
	if r.find("primary").Checksum.Type != "sha1" && r.find("primary").Checksum.Type != "sha" || !strings.Contains(first(unpack(t, out, "primary")), `<checksum type="sha512" pkgid="YES">`) {
		t.Errorf("%+v", r.find("primary"))
	}
}

// TestRefresh checks that metadata is right again after packages were signed in place, also
// with the old size and mtime.
func TestRefresh(t *testing.T) {
	dir, _ := repository(t)
	pkgid, _, _ := sumsOf(t, dir, "zstd")
	addMetadata(t, dir, "susedata", susedata(pkgid))
	addMetadata(t, dir, "prestodelta", "<prestodelta/>")
	s, err := signer()
	check(t, err)
	for _, u := range units(t, dir) {
		info, err := os.Stat(u.Path)
		check(t, err)
		check(t, s.Run(t.Context(), u).Err)
		check(t, os.Chtimes(u.Path, info.ModTime(), info.ModTime()))
	}
	before := units(t, dir)
	packagesAre := snapshot(t, filepath.Join(dir, "Packages"))
	asc(t, dir)
	got, err := Refresh(t.Context(), Options{Dir: dir})
	check(t, err)
	if got.Repositories != 1 || len(got.Added)+len(got.Removed) > 0 || len(before) != 5 {
		t.Errorf("%+v", got)
	}
	same(t, filepath.Join(dir, "Packages"), packagesAre)
	signed(t, dir)
	wantTagsAre(t, dir)
	now, _, _ := sumsOf(t, dir, "zstd")
	if text := first(unpack(t, dir, "susedata")); text != susedata(now) || now == pkgid {
		t.Error(text)
	}
	if got := kinds(t, dir); slices.Contains(got, "prestodelta") || !slices.Contains(got, "modules") {
		t.Errorf("%q", got)
	}
	for _, name := range []string{signaturePath, workDir, unfinished} {
		if exists(dir, name) {
			t.Errorf("%s exists", name)
		}
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, "repodata", "*"))
	check(t, err)
	if r, err := readRepomd(dir); err != nil || len(leftovers) != len(r.Data)+1 {
		t.Errorf("%q, %v", leftovers, err)
	}
	sumsHold(t, dir)
}

// wantTagsAre checks that the tags of repomd.xml are those of repository.
func wantTagsAre(t *testing.T, dir string) {
	t.Helper()
	r, err := readRepomd(dir)
	check(t, err)
	if got := r.tagArguments(); !slices.Equal(got, []string{"--content=test", "--repo=first", "--distro=cpe:/o:test,Test OS"}) {
		t.Errorf("%q", got)
	}
}

// TestRefreshFails checks that a createrepo_c that fails leaves the repository unchanged.
func TestRefreshFails(t *testing.T) {
	dir, _ := repository(t)
	before := snapshot(t, dir)
	tool := filepath.Join(t.TempDir(), "createrepo_c")
	harness.Executable(t, tool, []byte("#!/bin/sh\necho no room >&2\nexit 7\n"))
	if _, err := Refresh(t.Context(), Options{Dir: dir, Createrepo: tool}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
	before["."] = snapshot(t, dir)["."] // its mtime
	same(t, dir, before)
}

func TestEnclosing(t *testing.T) {
	dir, _ := repository(t)
	dir, err := filepath.EvalSymlinks(dir)
	check(t, err)
	link := filepath.Join(t.TempDir(), "a.rpm")
	check(t, os.Symlink(filepath.Join(dir, "README"), link))
	other := filepath.Join(filepath.Dir(dir), "other") // another name of the same directory
	check(t, os.Symlink(dir, other))
	for file, want := range map[string][]string{
		filepath.Join(other, "README"):         {other},
		filepath.Join(dir, "Packages/i/x.rpm"): {dir}, filepath.Join(filepath.Dir(dir), "x.rpm"): nil, link: {dir}, filepath.Join(dir, "none/none/x.rpm"): {dir},
	} {
		if got := Enclosing(file); !slices.Equal(got, want) {
			t.Errorf("%s: %q", file, got)
		}
	}
}
