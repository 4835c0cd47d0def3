package repo

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// verify returns what Verify finds, as "flaw path: detail", with paths from dir.
func verify(t testing.TB, o VerifyOptions) (findings []string, listed int) {
	t.Helper()
	o.Jobs = 2
	units, _, err := Verify(t.Context(), o, func(f Finding) error {
		rel, err := filepath.Rel(o.Dir, f.Path)
		findings = append(findings, string(f.Flaw)+" "+rel+": "+f.Detail)
		return err
	})
	check(t, err)
	return findings, len(units)
}

// TestVerify checks that a repository has no flaw, by createrepo_c or signed.
func TestVerify(t *testing.T) {
	dir, out := repository(t)
	mustRun(t, Options{Dir: dir, Output: out})
	for _, dir := range []string{dir, out} {
		if got, n := verify(t, VerifyOptions{Dir: dir}); len(got) > 0 || n != 5 {
			t.Errorf("%d packages, %q", n, got)
		}
	}
}

// TestVerifyFinds damages a repository in every way that breaks a client.
func TestVerifyFinds(t *testing.T) {
	zstd := "Packages/i/" + filepath.Base(packages.Path(t, "zstd"))
	core := func(dir, kind string) string {
		r, err := readRepomd(dir)
		check(t, err)
		return filepath.Join(dir, r.find(kind).Location.Href)
	}
	for name, c := range map[string]struct {
		damage func(dir string)
		want   string
	}{
		"signed in place": {func(dir string) {
			s, err := signer()
			check(t, err)
			for _, u := range units(t, dir) {
				if strings.HasSuffix(u.Path, zstd) {
					check(t, s.Run(t.Context(), u).Err)
				}
			}
		}, "differs " + zstd + ": its sha256 checksum"},
		"removed":           {func(dir string) { check(t, os.Remove(filepath.Join(dir, zstd))) }, "missing " + zstd},
		"added":             {func(dir string) { packages.Copy(t, "xz", dir) }, "unlisted imatest-xz"},
		"metadata gone":     {func(dir string) { check(t, os.Remove(core(dir, "filelists"))) }, "metadata repodata/"},
		"primary gone":      {func(dir string) { check(t, os.Remove(core(dir, "primary"))) }, "metadata repodata: "},
		"metadata changed":  {func(dir string) { write(t, core(dir, "group"), "x") }, "metadata repodata/"},
		"metadata a fifo":   {func(dir string) { check(t, os.Remove(core(dir, "other"))); check(t, os.Mkdir(core2(dir), 0o755)) }, "metadata repodata/"},
		"repomd.xml cut":    {func(dir string) { check(t, os.Truncate(repomdPath(dir), 200)) }, "metadata repodata: "},
		"stale susedata":    {func(dir string) { addMetadata(t, dir, "susedata", susedata(strings.Repeat("0", 64))) }, "stale repodata/"},
		"other's filelists": {func(dir string) { foreignFilelists(t, dir) }, "stale repodata/"},
		"called otherwise": {func(dir string) {
			text := strings.Replace(first(unpack(t, dir, "primary")), "<name>imatest-zstd</name>", "<name>imatest-other</name>", 1)
			replacePrimary(t, dir, text)
		}, "differs " + zstd + ": it is imatest-zstd"},
		"size": {func(dir string) {
			replacePrimary(t, dir, strings.ReplaceAll(first(unpack(t, dir, "primary")), `<size package="8`, `<size package="9`))
		}, "differs " + zstd + ": it has"},
		"checksum type": {func(dir string) {
			replacePrimary(t, dir, strings.ReplaceAll(first(unpack(t, dir, "primary")), `type="sha256" pkgid`, `type="sha512" pkgid`))
		}, "differs " + zstd + ": primary.xml states a checksum of type"},
	} {
		dir, _ := repository(t)
		c.damage(dir)
		if got, _ := verify(t, VerifyOptions{Dir: dir}); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, c.want) }) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// core2 returns the location of the metadata "other" in a repository of the tests.
func core2(dir string) string {
	text, _ := os.ReadFile(repomdPath(dir))
	r, err := parseRepomd("", text)
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, r.find("other").Location.Href)
}

// replacePrimary makes a repository list another primary.xml.
func replacePrimary(t testing.TB, dir, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "primary.xml")
	write(t, file, text)
	command(t, "modifyrepo_c", "--mdtype=primary", "--compress-type=gz", file, filepath.Join(dir, "repodata"))
}

// foreignFilelists makes a repository list the filelists.xml of another one.
func foreignFilelists(t testing.TB, dir string) {
	t.Helper()
	other := t.TempDir()
	packages.Copy(t, "noarch", other)
	packages.CreateRepo(t, other, "--general-compress-type=gz")
	file := filepath.Join(t.TempDir(), "filelists.xml")
	write(t, file, first(unpack(t, other, "filelists")))
	command(t, "modifyrepo_c", "--mdtype=filelists", "--compress-type=gz", file, filepath.Join(dir, "repodata"))
}

// TestVerifyCompressed checks a compressed file that is as repomd.xml states, with unpacked
// content that is not.
func TestVerifyCompressed(t *testing.T) {
	dir, _ := repository(t)
	text, href := unpack(t, dir, "updateinfo")
	f, err := os.Create(filepath.Join(dir, href))
	check(t, err)
	z := gzip.NewWriter(f)
	_, err = z.Write([]byte(text + " "))
	check(t, err)
	check(t, z.Close())
	check(t, f.Close())
	repomd, err := os.ReadFile(repomdPath(dir))
	check(t, err)
	r, err := readRepomd(dir)
	check(t, err)
	now := strings.Replace(string(repomd), ">"+r.find("updateinfo").Checksum.Hex+"<", ">"+sum(t, f.Name())+"<", 1)
	write(t, repomdPath(dir), now)
	got, _ := verify(t, VerifyOptions{Dir: dir})
	if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), "checksum is") && !strings.Contains(got[0], "bytes") {
		t.Errorf("%q", got)
	}
}

// TestVerifySignature checks repomd.xml.asc by one of the certificates, and by none.
func TestVerifySignature(t *testing.T) {
	dir, _ := repository(t)
	read := func(algorithm string) *Signers {
		text, err := os.ReadFile(packages.PublicKey(t, algorithm))
		check(t, err)
		s, err := ReadSigners(text)
		check(t, err)
		return s
	}
	rsa, other := read("rsa"), read("ed25519")
	if got, _ := verify(t, VerifyOptions{Dir: dir, Signers: rsa}); len(got) != 1 || !strings.HasPrefix(got[0], "signature repodata/repomd.xml.asc") {
		t.Errorf("unsigned: %q", got)
	}
	key := openPGPKey(t, "rsa")
	_, err := Refresh(t.Context(), Options{Dir: dir, OpenPGP: key})
	check(t, err)
	if got, _ := verify(t, VerifyOptions{Dir: dir, Signers: rsa}); len(got) != 0 {
		t.Errorf("signed: %q", got)
	}
	if got, _ := verify(t, VerifyOptions{Dir: dir, Signers: other}); len(got) != 1 || !strings.HasPrefix(got[0], "signature") {
		t.Errorf("by another key: %q", got)
	}
	var text []byte
	for _, algorithm := range []string{"ed25519", "rsa"} { // a file of a distribution's keys has several
		one, err := os.ReadFile(packages.PublicKey(t, algorithm))
		check(t, err)
		text = slices.Concat(text, []byte("pub "+algorithm+"\n\n"), one)
	}
	both, err := ReadSigners(text)
	check(t, err)
	if got, _ := verify(t, VerifyOptions{Dir: dir, Signers: both}); len(got) != 0 {
		t.Errorf("signed by the second of two keys: %q", got)
	}
	for _, text := range []string{"", "none", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"} {
		if _, err := ReadSigners([]byte(text)); err == nil || strings.Contains(err.Error(), "%!") {
			t.Errorf("certificates of %q: %v", text, err)
		}
	}
}

func TestVerifyEnds(t *testing.T) {
	dir, _ := repository(t)
	packages.Copy(t, "xz", dir)
	if _, _, err := Verify(t.Context(), VerifyOptions{Dir: dir}, func(Finding) error { return errStop }); err == nil {
		t.Error("no error")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStop)
	if _, _, err := Verify(ctx, VerifyOptions{Dir: dir}, func(Finding) error { return nil }); err == nil {
		t.Error("no error")
	}
	if _, _, err := Verify(t.Context(), VerifyOptions{Dir: t.TempDir()}, nil); err == nil {
		t.Error("a directory without metadata")
	}
}
