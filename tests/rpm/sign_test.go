package rpm

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// keyFlags returns the program's flags for the file key of a key set.
func keyFlags(keys string) []string {
	return []string{"--progress=none", "--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt")}
}

func rpmSign(t *testing.T, keys string, args ...string) string {
	t.Helper()
	return harness.Must(t, harness.Program(t), append(append([]string{"rpm", "sign"}, keyFlags(keys)...), args...)...)
}

// TestSigned signs packages of every kind and checks each with rpm.
func TestSigned(t *testing.T) {
	keys := harness.Keys(t, "rsa2048")
	for _, name := range []string{
		"zstd", "xz", "gzip", "bzip2", "lzma", "uncompressed", "sha224", "sha384", "sha512", "noarch", "rich", "rich-fifo",
		"many", "empty", "no-reserve", "large-reserve", "el6", "openpgp-rsa", "openpgp-ed25519",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := packages.Copy(t, name, t.TempDir())
			before := content(t, path)
			rpmSign(t, keys, "--check", "files", path)
			after := content(t, path)
			if rest := restOf(t, path); !bytes.HasSuffix(before, rest) || !bytes.HasSuffix(after, rest) || len(rest) < 500 {
				t.Error("main header or payload are not what they were")
			}
			entries := len(packages.Entries(t, path))
			if got := packages.Query(t, path, "%{FILESIGNATURES:arraysize}"); entries > 0 && got != strconv.Itoa(entries) {
				t.Errorf("rpm counts %s signatures of %d files", got, entries)
			}
			r := packages.Checksig(t, path)
			if r.Code != 0 || strings.Contains(r.Out, "BAD") || strings.HasPrefix(name, "openpgp-") && !strings.Contains(r.Out, "ignature, key ID") {
				t.Errorf("rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
			}
			verify := []string{"rpm", "verify", "--check", "files", "--cert", filepath.Join(keys, "x509_ima.crt"), path}
			if entries == 0 {
				verify = append(verify, "--allow-empty")
			}
			harness.Must(t, harness.Program(t), verify...)
			if out := rpmSign(t, keys, "--json", path); !strings.Contains(out, `"changed": 0,`) || !bytes.Equal(content(t, path), after) {
				t.Errorf("signing again changes it: %s", out)
			}
			harness.Must(t, harness.Program(t), "rpm", "strip", path)
			if !bytes.Equal(content(t, path), before) {
				t.Error("signed and stripped, the package is not what it was")
			}
		})
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

// restOf returns everything after the signature header, with a reader of its own.
func restOf(t *testing.T, path string) []byte {
	t.Helper()
	header, err := packages.SignatureHeader(path)
	check(t, err)
	const lead = 96
	return content(t, path)[lead+(len(header)+7)/8*8:]
}

// TestInstalled installs signed packages with rpm's IMA plugin. evmctl and this program accept
// the installed files.
func TestInstalled(t *testing.T) {
	for _, c := range []struct{ algorithm, name string }{{"rsa2048", "rich"}, {"p256", "zstd"}, {"p384", "sha384"}, {"rsa4096", "sha512"}} {
		t.Run(c.algorithm+"-"+c.name, func(t *testing.T) {
			t.Parallel()
			keys, root := harness.Keys(t, c.algorithm), t.TempDir()
			path := packages.Copy(t, c.name, t.TempDir())
			rpmSign(t, keys, path)
			certificate := filepath.Join(keys, "x509_ima.crt")
			verified := packages.InstallIMA(t, root, path, certificate)
			if len(verified) < 3 {
				t.Fatalf("only %v carry a signature", verified)
			}
			args := []string{"rootfs", "verify", "--cert", certificate, "--json"}
			for _, file := range verified {
				args = append(args, "--include", strings.NewReplacer("[", `\[`, "*", `\*`, "{", `\{`).Replace(file))
			}
			out := harness.Must(t, harness.Program(t), append(args, root)...)
			if !strings.Contains(out, `"bad": 0`) || strings.Contains(out, `"ok": 0`) {
				t.Errorf("rootfs verify: %s", out)
			}
		})
	}
}

// TestRepositorySigned installs with dnf from a repository that was signed and exchanged, with
// new OpenPGP signatures of packages and metadata.
func TestRepositorySigned(t *testing.T) {
	keys, dir := harness.Keys(t, "rsa2048"), t.TempDir()
	repo, next := filepath.Join(dir, "repo"), filepath.Join(dir, "next")
	check(t, os.Mkdir(repo, 0o755))
	packages.Repository(t, repo, "zstd", "noarch", "source")
	args := append([]string{"repo", "sign", "-o", next, "--swap", "--openpgp-key", packages.SecretKey(t, "rsa")}, keyFlags(keys)...)
	harness.Must(t, harness.Program(t), append(args, repo)...)
	d := packages.DNF{Repository: repo, Root: t.TempDir(), Key: packages.PublicKey(t, "rsa")}
	if r := d.Install(t, "imatest-zstd", "imatest-noarch"); r.Code != 0 || !strings.Contains(r.Out, "Complete!") {
		t.Fatalf("dnf install: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for _, name := range []string{"zstd", "noarch"} {
		verified, err := packages.CheckInstalled(t, d.Root, filepath.Join(repo, filepath.Base(packages.Path(t, name))), filepath.Join(keys, "x509_ima.crt"))
		check(t, err)
		if len(verified) == 0 {
			t.Errorf("%s: nothing was verified", name)
		}
	}
}

// TestReserveKeepsMetadataTrue signs a package that keeps its size, in the second in which it
// was made. The checksum in the repository must be that of the signed package.
func TestReserveKeepsMetadataTrue(t *testing.T) {
	keys, dir := harness.Keys(t, "p256"), t.TempDir()
	repo, next := filepath.Join(dir, "repo"), filepath.Join(dir, "next")
	check(t, os.Mkdir(repo, 0o755))
	packages.Repository(t, repo, "sha256")
	file := filepath.Base(packages.Path(t, "sha256"))
	before := content(t, filepath.Join(repo, file))
	harness.Must(t, harness.Program(t), append(append([]string{"repo", "sign", "-o", next}, keyFlags(keys)...), repo)...)
	after := content(t, filepath.Join(next, file))
	if len(before) != len(after) || bytes.Equal(before, after) {
		t.Fatalf("%d bytes before, %d after", len(before), len(after))
	}
	primary := harness.Must(t, "sh", "-c", "zcat -f "+next+"/repodata/*primary.xml*")
	sum, _, _ := strings.Cut(harness.Must(t, "sha256sum", filepath.Join(next, file)), " ")
	if !strings.Contains(primary, sum) {
		t.Error("the metadata states another checksum than that of the file")
	}
}
