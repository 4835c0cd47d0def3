package repo

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// addMetadata adds a metadata file with modifyrepo_c.
func addMetadata(t testing.TB, dir, kind, text string, flags ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), kind+".xml")
	write(t, file, text)
	if len(flags) == 0 {
		flags = []string{"--compress-type=gz"}
	}
	command(t, "modifyrepo_c", append(append([]string{"--mdtype=" + kind}, flags...), file, filepath.Join(dir, "repodata"))...)
}

// unpack returns the content of metadata files by their type, and their names.
func unpack(t testing.TB, dir, kind string) (text, href string) {
	t.Helper()
	r, err := readRepomd(dir)
	check(t, err)
	m := r.find(kind)
	if m == nil {
		t.Fatalf("%s has no %s metadata", dir, kind)
	}
	in, err := openMetadata(filepath.Join(dir, m.Location.Href))
	check(t, err)
	defer in.Close()
	b, err := io.ReadAll(in)
	check(t, err)
	return string(b), m.Location.Href
}

// sumsOf returns the checksums of a package in a repository.
func sumsOf(t testing.TB, dir, name string) (sha256, sha1sum, md5sum string) {
	t.Helper()
	path := filepath.Join(dir, "Packages/i", filepath.Base(packages.Path(t, name)))
	b, err := os.ReadFile(path)
	check(t, err)
	s, m := sha1.Sum(b), md5.Sum(b)
	return sum(t, path), hex.EncodeToString(s[:]), hex.EncodeToString(m[:])
}

func susedata(pkgid string) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<susedata xmlns="http://linux.duke.edu/metadata/susedata" packages="1"><package pkgid="%s" name="imatest-zstd" arch="x86_64"><version epoch="0" ver="1.0" rel="1"/><keyword>support_l3</keyword><eula>Read me</eula></package></susedata>
`, pkgid)
}

// eulas returns how many EULAs libsolv reads from a repository's susedata.
func eulas(t testing.TB, dir string) int {
	t.Helper()
	solv := filepath.Join(t.TempDir(), "solv")
	harness.Must(t, "sh", "-c", "repo2solv -X "+dir+" >"+solv)
	return strings.Count(harness.Must(t, "dumpsolv", solv), "solvable:eula: ")
}

// TestChecksumsFollow checks that metadata with checksums of packages gets the new ones and
// changes in no other byte, with the same compression: after signing, signing with another
// key, signing again and stripping.
func TestChecksumsFollow(t *testing.T) {
	dir, out := repository(t)
	sha256, sha1sum, md5sum := sumsOf(t, dir, "zstd")
	unchanged, _, _ := sumsOf(t, dir, "empty")
	addMetadata(t, dir, "susedata", susedata(sha256))
	addMetadata(t, dir, "susedata.de", susedata(strings.ToUpper(sha256)), "--compress-type=xz")
	info := `<updates><update><id>x</id><pkglist><collection><package name="imatest-zstd"><filename>f.rpm</filename>` +
		`<sum type="sha256">%s</sum><sum type="sha1">%s</sum><sum type="md5">%s</sum></package><package><sum type="sha256">%s</sum></package></collection></pkglist></update></updates>`
	addMetadata(t, dir, "updateinfo", fmt.Sprintf(info, sha256, sha1sum, md5sum, unchanged), "--compress-type=bz2")
	addMetadata(t, dir, "filelists-extra", "<x/>", "--no-compress")
	before := snapshot(t, dir)
	if eulas(t, dir) != 1 {
		t.Fatal("libsolv does not read susedata")
	}
	_, w, err := run(t, Options{Dir: dir, Output: out})
	check(t, err)
	same(t, dir, before)
	signed(t, out)
	sha256, sha1sum, md5sum = sumsOf(t, out, "zstd")
	for kind, want := range map[string]string{
		"susedata": susedata(sha256), "susedata.de": susedata(strings.ToUpper(sha256)), "updateinfo": fmt.Sprintf(info, sha256, sha1sum, md5sum, unchanged),
	} {
		_, was := unpack(t, dir, kind)
		if got, is := unpack(t, out, kind); got != want || filepath.Ext(is) != filepath.Ext(was) {
			t.Errorf("%s in %s, was %s:\n%s", kind, is, was, got)
		}
	}
	if eulas(t, out) != 1 {
		t.Error("libsolv finds no EULA any more")
	}
	if !w.have("filelists-extra") || w.have("susedata") || w.have("updateinfo") {
		t.Errorf("%q", w.list)
	}
	sumsHold(t, out)

	mustRun(t, Options{Dir: out, Output: out + "2"})
	if a, b := first(unpack(t, out, "susedata")), first(unpack(t, out+"2", "susedata")); a != b {
		t.Errorf("changed without need: %s", b)
	}
	strip(t, Options{Dir: out, InPlace: true})
	sha256, sha1sum, md5sum = sumsOf(t, out, "zstd")
	if text := first(unpack(t, out, "updateinfo")); text != fmt.Sprintf(info, sha256, sha1sum, md5sum, unchanged) {
		t.Errorf("in place: %s", text)
	}
	if eulas(t, out) != 1 {
		t.Error("libsolv finds no EULA after stripping")
	}
	sumsHold(t, out)
}

func first(a, _ string) string { return a }

// sumsHold checks that repomd.xml states the checksums of the files that it lists.
func sumsHold(t testing.TB, dir string) {
	t.Helper()
	r, err := readRepomd(dir)
	check(t, err)
	for _, m := range r.Data {
		if got := sum(t, filepath.Join(dir, m.Location.Href)); got != m.Checksum.Hex {
			t.Errorf("%s: checksum %s, repomd.xml has %s", m.Location.Href, got, m.Checksum.Hex)
		}
	}
}

// TestSimpleNames checks that files without a checksum in their names, which are shared with
// the old repository, are not written into.
func TestSimpleNames(t *testing.T) {
	dir, out := repository(t)
	packages.CreateRepo(t, dir, "--simple-md-filenames", "--general-compress-type=gz")
	sha256, _, _ := sumsOf(t, dir, "zstd")
	addMetadata(t, dir, "susedata", susedata(sha256), "--compress-type=gz", "--simple-md-filenames")
	before := snapshot(t, dir)
	mustRun(t, Options{Dir: dir, Output: out})
	same(t, dir, before)
	now, _, _ := sumsOf(t, out, "zstd")
	if text, href := unpack(t, out, "susedata"); text != susedata(now) || href != "repodata/susedata.xml.gz" {
		t.Errorf("%s: %s", href, text)
	}
	signed(t, out)
}

// TestStaleNamed checks the warnings about old checksums that are not replaced: in unknown
// types, in types without checksums, and in other files.
func TestStaleNamed(t *testing.T) {
	dir, out := repository(t)
	sha256, sha1sum, _ := sumsOf(t, dir, "zstd")
	for kind, text := range map[string]string{"vendor": sha256, "modules2": "{\"" + sha1sum + "\":1}", "productid": "x " + sha256, "empty": "x", "patterns": "<patterns/>"} {
		addMetadata(t, dir, kind, text)
	}
	addMetadata(t, dir, "broken", "x", "--no-compress")
	r, err := readRepomd(dir)
	check(t, err)
	write(t, filepath.Join(dir, r.find("broken").Location.Href), "\x1f\x8bbroken")
	write(t, filepath.Join(dir, "SHA256SUMS"), sha256+"  a.rpm\n")
	write(t, filepath.Join(dir, "images/.treeinfo"), "[checksums]\nrepodata/repomd.xml = sha256:"+sum(t, repomdPath(dir))+"\n")
	_, w, err := run(t, Options{Dir: dir, Output: out})
	check(t, err)
	for _, want := range []string{"vendor metadata has old checksums of packages (1)", "modules2 metadata has old checksums of packages (1)", "productid metadata has old checksums of packages (1)", "empty metadata is kept unchanged", "broken metadata may", "SHA256SUMS has old checksums of packages or metadata (1)", ".treeinfo has old checksums of packages or metadata (1)"} {
		if !w.have(want) {
			t.Errorf("no %q in %q", want, w.list)
		}
	}
	if w.have("patterns") || w.have("group") || w.have("README") {
		t.Errorf("%q", w.list)
	}
}

// TestUntraced checks the warning about checksums of another kind than that of primary.xml, if
// the package was changed before without the metadata.
func TestUntraced(t *testing.T) {
	for _, how := range []string{"besides", "in place", "refresh"} {
		dir, out := repository(t)
		sha256, sha1sum, _ := sumsOf(t, dir, "zstd")
		addMetadata(t, dir, "updateinfo", "<sum>"+sha1sum+"</sum><sum>"+sha256+"</sum>")
		s, err := signer()
		check(t, err)
		for _, u := range units(t, dir) {
			check(t, s.Run(t.Context(), u).Err)
		}
		w := &warnings{}
		o := Options{Dir: dir, InPlace: true, Observe: signing.NewObserver(w.observe)}
		now := dir
		if how == "besides" {
			o.InPlace, o.Output, now = false, out, out
		}
		if how == "refresh" {
			_, err = Refresh(t.Context(), o)
		} else {
			_, err = sign(t.Context(), s, o, func(r result) error { return r.Err })
		}
		check(t, err)
		sha256, _, _ = sumsOf(t, now, "zstd")
		if text := first(unpack(t, now, "updateinfo")); !w.have("updateinfo metadata has checksums of another kind") || text != "<sum>"+sha1sum+"</sum><sum>"+sha256+"</sum>" {
			t.Errorf("%s: %q, %s", how, w.list, text)
		}
	}
}

// TestZchunk checks that a zchunk copy is updated with its original, or left out if
// modifyrepo_c does not make zchunk. Copies of unchanged metadata stay.
func TestZchunk(t *testing.T) {
	for _, able := range []bool{true, false} {
		dir, out := repository(t)
		sha256, _, _ := sumsOf(t, dir, "zstd")
		addMetadata(t, dir, "susedata", susedata(sha256), "--zck")
		for _, kind := range []string{"group_zck", "vendor_zck"} {
			addMetadata(t, dir, kind, "\x00ZCK1", "--no-compress")
		}
		before := snapshot(t, dir)
		if !able {
			without := filepath.Join(t.TempDir(), "modifyrepo_c")
			harness.Executable(t, without, []byte("#!/bin/sh\nfor a; do [ \"$a\" != --zck ] || exit 1; done\nexec "+harness.Must(t, "sh", "-c", "command -v modifyrepo_c | tr -d '\\n'")+" \"$@\"\n"))
			t.Setenv("PATH", filepath.Dir(without)+":"+os.Getenv("PATH"))
		}
		_, w, err := run(t, Options{Dir: dir, Output: out})
		check(t, err)
		same(t, dir, before)
		now, err := readRepomd(out)
		check(t, err)
		if now.find("group_zck") == nil || now.find("vendor_zck") == nil || !w.have("vendor_zck") || w.have("group_zck") || w.have("susedata_zck is left out") == able {
			t.Errorf("%q, %q", kinds(t, out), w.list)
		}
		a, b := now.find("susedata"), now.find("susedata_zck")
		if (b != nil) != able || able && a.Open.Hex != b.Open.Hex {
			t.Errorf("%+v, in zchunk %+v", a, b)
		}
		sumsHold(t, out)
	}
}

// TestDeltas checks that metadata of deltas in any container is left out, with a warning, and
// stays if no package changed.
func TestDeltas(t *testing.T) {
	dir, out := repository(t)
	list := []string{"prestodelta", "deltainfo", "prestodelta_zck"}
	for _, kind := range list {
		addMetadata(t, dir, kind, "<prestodelta/>")
	}
	_, w, err := run(t, Options{Dir: dir, Output: out})
	check(t, err)
	if got := kinds(t, out); !w.have("delta") || slices.ContainsFunc(got, func(kind string) bool { return slices.Contains(list, kind) }) {
		t.Errorf("%q, %q", w.list, got)
	}
	for _, kind := range list {
		addMetadata(t, out, kind, "<prestodelta/>")
	}
	_, w, err = run(t, Options{Dir: out, Output: out + "2"})
	check(t, err)
	if got := kinds(t, out+"2"); w.have("delta") || !slices.Contains(got, "prestodelta") || !slices.Contains(got, "prestodelta_zck") {
		t.Errorf("nothing changed: %q, %q", w.list, got)
	}
}

// TestCopies checks that a checksum of several copies of a package is old when none has it.
func TestCopies(t *testing.T) {
	m := &making{task: &task{}, listing: &listing{all: []listed{{href: "a", pkgid: "x"}, {href: "b", pkgid: "x"}, {href: "c", pkgid: "y"}, {href: "d", pkgid: "z"}}}}
	for _, order := range [][]int{{0, 1, 2, 3}, {1, 0, 3, 2}} {
		was := m.all
		m.listing = &listing{}
		for _, n := range order {
			m.all = append(m.all, was[n])
		}
		now := []listed{{href: "./a", pkgid: "n"}, {href: "c", pkgid: "z"}}
		got, err := m.checksums(t.Context(), nil, now, m.moved(now))
		check(t, err)
		if want := (checksums{"x": "n", "y": "z"}); !maps.Equal(got, want) {
			t.Errorf("%v", got)
		}
	}
}

// TestTokens checks that only whole runs of hex digits are checksums, at any place.
func TestTokens(t *testing.T) {
	old, now := strings.Repeat("ab", 32), strings.Repeat("01", 32)
	c := checksums{old: now, strings.Repeat("c", 40): ""}
	for text, want := range map[string]string{
		old: now, "x" + old: "x" + now, "<a b='" + old + "'/>": "<a b='" + now + "'/>", strings.ToUpper(old): now,
		old + "a": old + "a", "0" + old: "0" + old, old + old: old + old, old + old + old: old + old + old, "": "", "é" + old + "\n": "é" + now + "\n",
		strings.Repeat("c", 40): strings.Repeat("c", 40), strings.Repeat("a", 200000) + " " + old: strings.Repeat("a", 200000) + " " + now,
	} {
		var out bytes.Buffer
		check(t, c.replace(strings.NewReader(text), &out))
		if out.String() != want {
			t.Errorf("%.200q becomes %.200q", text, out.String())
		}
	}
	found, err := c.search(strings.NewReader(old + " " + strings.ToUpper(old) + "," + strings.Repeat("C", 40)))
	check(t, err)
	if len(found.old) != 1 || len(found.gone) != 1 {
		t.Errorf("%v", found)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte(strings.Repeat("ab", 32)))
	f.Add([]byte("x" + strings.Repeat("0", 129) + " "))
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		check(t, checksums{}.replace(bytes.NewReader(text), &out))
		if !bytes.Equal(out.Bytes(), text) {
			t.Fatalf("%q becomes %q", text, out.Bytes())
		}
	})
}
