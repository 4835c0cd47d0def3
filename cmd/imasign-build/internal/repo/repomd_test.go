package repo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// asc signs repomd.xml as a repository's owner does, and puts the key beside it.
func asc(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string]string{signaturePath: "old signature", keyPath: "old key"} {
		write(t, filepath.Join(dir, name), text)
	}
}

func openPGPKey(t testing.TB, algorithm string) *rpmsign.OpenPGPKey {
	t.Helper()
	f, err := os.Open(packages.SecretKey(t, algorithm))
	check(t, err)
	key, err := rpmsign.ReadOpenPGPKey(f, nil, time.Time{})
	check(t, errors.Join(err, f.Close()))
	return key
}

// TestRepomdSigned verifies repomd.xml.asc with gpg and the key beside it.
func TestRepomdSigned(t *testing.T) {
	for _, algorithm := range []string{"rsa", "ed25519"} {
		dir, out := repository(t)
		asc(t, dir)
		key := openPGPKey(t, algorithm)
		s, err := signer()
		check(t, err)
		s.Options.OpenPGP = key
		before := snapshot(t, dir)
		_, w, err := run(t, Options{Dir: dir, Output: out, OpenPGP: key}, s)
		check(t, err)
		same(t, dir, before)
		signed(t, out)
		if w.have("repomd.xml.asc") {
			t.Errorf("%q", w.list)
		}
		home, err := os.MkdirTemp("", "gpg-*")
		check(t, err)
		command(t, "gpg", "--batch", "--homedir", home, "--import", filepath.Join(out, keyPath))
		if said := command(t, "gpg", "--batch", "--homedir", home, "--verify", filepath.Join(out, signaturePath), repomdPath(out)); !strings.Contains(said, "Good signature") {
			t.Error(said)
		}
		command(t, "gpgconf", "--homedir", home, "--kill", "all")
		check(t, os.RemoveAll(home))
		for _, u := range units(t, out) {
			if r := packages.Checksig(t, u.Path); r.Code != 0 || strings.Contains(r.Out, "NOKEY") {
				t.Errorf("%s: %s%s", u.Path, r.Out, r.Err)
			}
		}
	}
}

// TestRepomdUnsigned checks that the old signature is left out without a key, with a warning.
func TestRepomdUnsigned(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		dir, out := repository(t)
		asc(t, dir)
		o := Options{Dir: dir, Output: out}
		if inPlace {
			o, out = Options{Dir: dir, InPlace: true}, dir
		}
		_, w, err := run(t, o)
		check(t, err)
		if !w.have("repomd.xml.asc belongs to the old metadata and is left out") {
			t.Errorf("%q", w.list)
		}
		for _, name := range []string{signaturePath, keyPath} {
			if _, err := os.Stat(filepath.Join(out, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestParseRepomd(t *testing.T) {
	const primary = `<data type="primary"><checksum type="sha512">x</checksum><location href="repodata/x-primary.xml.zst"/></data>`
	r, err := parseRepomd("r", []byte(`<repomd xmlns="http://linux.duke.edu/metadata/repo"><tags><content>c</content><repo>r</repo><distro cpeid="cpe">D</distro><distro>E</distro></tags>`+primary+
		`<data type="primary_zck"><location href="repodata/p.zck"/></data><data type="group_gz"><location href="g.xml"/></data></repomd>`))
	check(t, err)
	args := r.createrepoArguments(3, "sha")
	for _, want := range []string{"--checksum=sha", "--repomd-checksum=sha512", "--general-compress-type=zstd", "--no-database", "--zck", "--workers=3", "--content=c", "--repo=r", "--distro=cpe,D", "--distro=E"} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %q", want, args)
		}
	}
	if slices.Contains(args, "--simple-md-filenames") {
		t.Errorf("%q", args)
	}
	if lost := r.lost(&repomd{}); !slices.Equal(lost, []string{"group_gz"}) {
		t.Errorf("%q", lost)
	}
	for name, text := range map[string]string{
		"empty": "", "no xml": "hello", "no primary": "<repomd/>", "outside": "<repomd>" + strings.Replace(primary, "repodata/x", "../x", 1) + "</repomd>",
		"absolute": "<repomd>" + strings.Replace(primary, "repodata/x", "/x", 1) + "</repomd>", "large": "<repomd>" + primary + strings.Repeat(" ", maxRepomd) + "</repomd>",
		"cut": "<repomd>" + primary,
	} {
		if _, err := parseRepomd("r", []byte(text)); !errors.Is(err, ErrNoRepository) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContentOf(t *testing.T) {
	for kind, want := range map[string]content{
		"primary": core, "primary_db": core, "filelists_zck": core, "filelists-ext": byChecksum, "other": core,
		"prestodelta": ofDeltas, "prestodelta_zck": ofDeltas, "deltainfo": ofDeltas,
		"susedata": byChecksum, "susedata.de": byChecksum, "updateinfo_zck": byChecksum,
		"group": without, "group_gz": without, "modules": without, "productid": without, "license-x": without, "vendor": unknown,
	} {
		if got := contentOf(kind); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
}

func FuzzRepomd(f *testing.F) {
	f.Add([]byte(`<repomd><data type="primary"><checksum type="sha256">x</checksum><location href="repodata/primary.xml.gz"/></data></repomd>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRepomd("repomd.xml", text)
		if err != nil {
			if !errors.Is(err, ErrNoRepository) {
				t.Fatal(err)
			}
			return
		}
		for _, arg := range r.createrepoArguments(2, "") {
			if !strings.HasPrefix(arg, "-") && arg != "0" {
				t.Fatalf("%q is an argument of its own", arg)
			}
		}
		for _, m := range r.Data {
			if !filepath.IsLocal(m.Location.Href) {
				t.Fatalf("%q leads out", m.Location.Href)
			}
		}
	})
}
