package rpm

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// claims is what `rpm -qp --qf` must print about each package by rpmbuild.
func claims() map[string]string {
	const format = "%{PAYLOADCOMPRESSOR} %{FILEDIGESTALGO} %{ARCH} %{SOURCEPACKAGE}"
	return map[string]string{
		"zstd": "zstd 8 x86_64 (none)", "xz": "xz 8 x86_64 (none)", "gzip": "gzip 8 x86_64 (none)",
		"bzip2": "bzip2 8 x86_64 (none)", "lzma": "lzma 8 x86_64 (none)", "uncompressed": "(none) 8 x86_64 (none)",
		"md5": "zstd (none) x86_64 (none)", "sha1": "zstd 2 x86_64 (none)", "sha224": "zstd 11 x86_64 (none)",
		"sha256": "zstd 8 x86_64 (none)", "sha384": "zstd 9 x86_64 (none)", "sha512": "zstd 10 x86_64 (none)",
		"noarch": "zstd 8 noarch (none)", "rich": "zstd 8 x86_64 (none)", "rich-fifo": "zstd 8 x86_64 (none)", "many": "zstd 8 noarch (none)",
		"empty": "gzip 8 noarch (none)", "source": "gzip 8 x86_64 1", "source-sha512": "gzip 10 x86_64 1",
		"no-reserve": "zstd 8 x86_64 (none)", "large-reserve": "zstd 8 x86_64 (none)",
		"el5": "zstd (none) x86_64 (none)", "el6": "zstd 8 x86_64 (none)", "rpm3": "zstd (none) x86_64 (none)",
		"": format,
	}
}

func TestPackages(t *testing.T) {
	format := claims()[""]
	for _, name := range packages.Names() {
		want := claims()[strings.TrimPrefix(name, "ambiguous-")] // which are compressed as the others
		if strings.HasPrefix(name, "openpgp-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := packages.Path(t, name)
			if got := packages.Query(t, path, format); got != want {
				t.Errorf("rpm -qp: %q, want %q", got, want)
			}
			wantDigestsOK(t, path)
		})
	}
}

// wantDigestsOK checks that rpm accepts the digests of the package, and refuses it after a
// change in the payload.
func wantDigestsOK(t *testing.T, path string) {
	t.Helper()
	r := packages.Checksig(t, path)
	if r.Code != 0 || !strings.Contains(r.Out, "digest: OK") || strings.Contains(r.Out, "BAD") {
		t.Errorf("rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	content, err := os.ReadFile(path)
	check(t, err)
	content[len(content)-1] ^= 1
	changed := t.TempDir() + "/changed.rpm"
	check(t, os.WriteFile(changed, content, 0o644))
	if r := packages.Checksig(t, changed); r.Code == 0 {
		t.Errorf("rpmkeys --checksig of a changed package: exit 0\n%s", r.Out)
	}
}

// TestReproducible checks that the same recipe makes the same bytes, so that a failure can be
// repeated.
func TestReproducible(t *testing.T) {
	r := harness.RunCommand(t, exec.Command("rpm", "-qp", "--qf", "%{BUILDTIME} %{BUILDHOST}", packages.Path(t, "rich")))
	if r.Out != "1700000000 localhost" {
		t.Errorf("build time and host are %q", r.Out)
	}
}

func TestDigests(t *testing.T) {
	for name, length := range map[string]int{"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128} {
		for _, e := range packages.Entries(t, packages.Path(t, name)) {
			if e.Regular() != (len(e.Digest) == length) || !e.Regular() && e.Digest != "" {
				t.Errorf("%s: %s has digest %q", name, e.Path, e.Digest)
			}
		}
	}
	empty := sha256.Sum256(nil)
	if all := packages.Entries(t, packages.Path(t, "sha256")); all[7].Path != "/usr/share/imatest-sha256/empty" || all[7].Digest != hex.EncodeToString(empty[:]) {
		t.Errorf("the empty file is %+v", all[7])
	}
}

func TestReserve(t *testing.T) {
	for name, want := range map[string]int{"no-reserve": 32, "zstd": 4128, "large-reserve": 65568} {
		tag, _ := packages.Find(read(t, packages.Path(t, name)).Signature, packages.TagReserved)
		if len(tag.Data) != want {
			t.Errorf("%s reserves %d bytes, want %d", name, len(tag.Data), want)
		}
	}
}

func TestMany(t *testing.T) {
	digests := map[string]bool{}
	for _, e := range packages.Entries(t, packages.Path(t, "many")) {
		if e.Regular() {
			digests[e.Digest] = true
		}
	}
	if len(digests) != 20000 {
		t.Errorf("%d distinct digests, want 20000", len(digests))
	}
}

func TestEmpty(t *testing.T) {
	if all := packages.Entries(t, packages.Path(t, "empty")); len(all) != 0 {
		t.Errorf("entries %v", all)
	}
}

// TestRich looks for one entry of each kind.
func TestRich(t *testing.T) {
	path := packages.Path(t, "rich")
	out := packages.Query(t, path, "[%{FILENAMES}|%{FILEMODES:perms}|%{FILEFLAGS:fflags}|%{FILECOLORS}|%{FILECAPS}|%{FILELANGS}|%{FILELINKTOS}\n]")
	for _, want := range []string{
		"/dev/rich-null|crw-rw-rw-|", "/dev/rich-loop|brw-rw----|",
		"/etc/rich/rich.conf|-rw-r--r--|c|", "/etc/rich/noreplace.conf|-rw-r--r--|cn|", "/etc/rich/executable.conf|-rwxr-xr-x|c|", "/etc/rich/missingok|-rw-r--r--|cm|",
		"/run/rich|d---------|g|", "/run/rich.pid|----------|g|", "/var/log/rich-ghost.log|-rw-r--r--|g|",
		"/usr/bin/elf32|-rwxr-xr-x||1|", "/usr/bin/elf64|-rwxr-xr-x||2|",
		"/usr/bin/setuid|-rwsr-xr-x|", "/usr/bin/setgid|-rwxr-sr-x|", "/usr/bin/capable|-rwxr-xr-x||0|cap_net_raw=p|",
		"/usr/share/doc/rich/LICENSE|-rw-r--r--|dl|", "/usr/share/doc/rich/README|-rw-r--r--|d|", "/usr/share/locale/de/rich.mo|-rw-r--r--||0||de|",
		"/usr/share/rich/dangling|lrwxrwxrwx||0|||/nowhere", "/usr/share/rich/directory|drwxrwxrwt|", "/usr/share/rich/größe|", "/usr/share/rich/with space|",
		"/usr/share/rich/mode-0000|----------||", "/usr/share/rich/" + strings.Repeat("n", 200) + "|",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no entry %s in\n%s", want, out)
		}
	}
	if modes := packages.Query(t, packages.Path(t, "rich-fifo"), "[%{FILENAMES}|%{FILEMODES:perms}|\n]"); !strings.Contains(modes, "/usr/share/rich/fifo|prw-r--r--|") {
		t.Errorf("no FIFO in\n%s", modes)
	}
	if got := packages.Query(t, path, "[%{HEADERI18NTABLE} ]"); got != "C de ja " {
		t.Errorf("languages %q", got)
	}
	wantHardLinks(t, path)
}

func wantHardLinks(t *testing.T, path string) {
	t.Helper()
	inodes := map[string]string{}
	for line := range strings.Lines(packages.Query(t, path, "[%{FILENAMES} %{FILEINODES}:%{FILENLINKS}\n]")) {
		i := strings.LastIndex(line, " ")
		inodes[line[:i]] = strings.TrimSpace(line[i:])
	}
	const dir = "/usr/share/rich/"
	if !strings.HasSuffix(inodes[dir+"link-a"], ":3") || inodes[dir+"link-a"] != inodes[dir+"link-b"] || inodes[dir+"link-a"] != inodes[dir+"link-c"] {
		t.Errorf("link-a, b and c are %s, %s, %s", inodes[dir+"link-a"], inodes[dir+"link-b"], inodes[dir+"link-c"])
	}
	if inodes[dir+"same-a"] == inodes[dir+"same-b"] {
		t.Error("same-a and same-b are one inode")
	}
}

// TestLegacy checks that old formats have no tags of newer ones.
func TestLegacy(t *testing.T) {
	for name, region := range map[string]bool{"el5": true, "el6": true, "rpm3": false} {
		path := packages.Path(t, name)
		f := read(t, path)
		if _, found := packages.Find(f.Signature, packages.TagSHA256); found {
			t.Errorf("%s has a SHA-256 header digest", name)
		}
		if got := packages.Query(t, path, "%{PAYLOADDIGEST}%{PAYLOADDIGESTALT}%{PAYLOADDIGESTALGO}"); got != "(none)(none)(none)" {
			t.Errorf("%s has a payload digest %s", name, got)
		}
		header, err := packages.SignatureHeader(path)
		check(t, err)
		if got := header[16+3] == packages.TagSignatures; got != region {
			t.Errorf("%s: signature header has a region: %t", name, got)
		}
		if all := packages.Entries(t, path); len(all) != 8 || all[0].Path != "/usr/bin/imatest-"+map[string]string{"el5": "md5", "el6": "sha256", "rpm3": "md5"}[name] {
			t.Errorf("%s: entries %v", name, all)
		}
	}
}

// TestCompose checks that the writer for wrong packages writes right packages byte for byte.
func TestCompose(t *testing.T) {
	for _, name := range []string{"rich", "empty", "openpgp-rsa", "source"} {
		path := packages.Path(t, name)
		want, err := packages.SignatureHeader(path)
		check(t, err)
		if got := packages.Compose(packages.TagSignatures, read(t, path).Signature); string(got) != string(want) {
			t.Errorf("%s: signature header\n%x, want\n%x", name, got, want)
		}
	}
}

func TestOpenPGP(t *testing.T) {
	for name, want := range map[string]string{
		"openpgp-rsa": "Header V4 RSA/SHA512 Signature", "openpgp-ed25519": "Header V4 EdDSA/SHA", "openpgp-rich": "Header V4 RSA/",
		"openpgp-rpmv3": "\n    V4 RSA/SHA512 Signature", "openpgp-el5": "\n    V4 RSA/", "openpgp-empty": "Header V4 EdDSA/",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := packages.Path(t, name)
			r := packages.Checksig(t, path)
			if r.Code != 0 || !strings.Contains(r.Out, want) || strings.Contains(r.Out, "NOKEY") {
				t.Errorf("rpmkeys --checksig: exit %d, want %s OK\n%s%s", r.Code, want, r.Out, r.Err)
			}
			wantDigestsOK(t, path)
		})
	}
}
