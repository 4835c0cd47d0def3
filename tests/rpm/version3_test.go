package rpm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// algorithms are those that packages are signed with in version 3. IMASIGN_NIGHTLY=1 adds
// the others.
func algorithms() []string {
	if harness.Nightly() {
		return []string{"rsa2048", "p256", "p384", "mldsa44", "mldsa65", "mldsa87"}
	}
	return []string{"rsa2048", "p256", "mldsa65"}
}

// version3 returns the arguments of a command that makes version 3 signatures.
func version3(keys string, command ...string) []string {
	return append(append(command, keyFlags(keys)...), "--signature", "v3", "--key-for", "v3")
}

// TestVersion3 signs packages in version 3. rpm reads the signatures, its IMA plugin sets
// them, and OpenSSL verifies them.
func TestVersion3(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			keys, program := harness.Keys(t, algorithm), harness.Program(t)
			root := harness.LargeXattrs(t)
			for _, file := range []string{packages.Path(t, "rich"), frozenPath("v6/sha256.rpm")} {
				dir := t.TempDir()
				path := filepath.Join(dir, "p.rpm")
				check(t, os.WriteFile(path, content(t, file), 0o644))
				harness.Must(t, program, append(version3(keys, "rpm", "sign"), path)...)
				signed := content(t, path)
				if r := packages.Checksig(t, path); r.Code != 0 || strings.Contains(r.Out, "BAD") {
					t.Errorf("rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
				}
				certificate := filepath.Join(keys, "x509_ima.crt")
				harness.Must(t, program, "rpm", "verify", "--key-for", "v3", "--cert", certificate, path)
				if out := harness.Must(t, program, "rpm", "show", path); !strings.Contains(out, "version 3, key id ") {
					t.Errorf("rpm show: %s", out)
				}
				openssl(t, certificate, path)
				if out := harness.Must(t, program, append(version3(keys, "rpm", "sign"), "--json", path)...); !strings.Contains(out, `"changed": 0,`) {
					t.Errorf("signing again changes it: %s", out)
				}
				installed(t, filepath.Join(root, filepath.Base(dir)), path)
				apart(t, keys, file, signed)
				harness.Must(t, program, "rpm", "strip", path)
				if !bytes.Equal(content(t, path), content(t, file)) {
					t.Error("signed and stripped, the package is not what it was")
				}
			}
		})
	}
}

// openssl verifies each signature of a package with OpenSSL 3.5, over the file_id.
func openssl(t *testing.T, certificate, path string) {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) error {
		cmd := harness.OpenSSL35(t, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = errors.Join(err, errors.New(string(out)))
		}
		return err
	}
	absolute, err := filepath.Abs(certificate)
	check(t, err)
	check(t, run("x509", "-in", absolute, "-pubkey", "-noout", "-out", "public"))
	verified := 0
	for _, e := range packages.Entries(t, path) {
		if e.Digest == "" {
			continue
		}
		value, err := hex.DecodeString(e.Signature)
		check(t, err)
		digest, err := hex.DecodeString(e.Digest)
		check(t, err)
		if len(value) < 10 || !bytes.Equal(value[:3], []byte{3, 3, 4}) || int(value[7])<<8|int(value[8]) != len(value)-9 {
			t.Fatalf("%s: %.20x", e.Path, value)
		}
		check(t, os.WriteFile(filepath.Join(dir, "message"), append([]byte{3, 4}, digest...), 0o644))
		check(t, os.WriteFile(filepath.Join(dir, "signature"), value[9:], 0o644))
		verify := []string{"pkeyutl", "-verify", "-pubin", "-inkey", "public", "-rawin", "-in", "message", "-sigfile", "signature"}
		if len(value) < 1000 { // ML-DSA is over the message itself
			verify = append(verify, "-digest", "sha256")
		}
		if err := run(verify...); err != nil {
			t.Errorf("%s: %v", e.Path, err)
		}
		if verified++; verified == 5 && !harness.Nightly() {
			break
		}
	}
	if verified == 0 {
		t.Error("no file has a signature")
	}
}

// installed installs a package and compares security.ima with the signatures.
func installed(t *testing.T, root, path string) {
	t.Helper()
	check(t, os.Mkdir(root, 0o755))
	packages.Install(t, root, path)
	n := 0
	for _, e := range packages.Entries(t, path) {
		if !e.Appraised() {
			continue
		}
		if n++; packages.SecurityIMA(t, filepath.Join(root, e.Path)) != e.Signature {
			t.Errorf("%s has another security.ima than the package says", e.Path)
		}
	}
	if n == 0 {
		t.Error("rpm's plugin sets no signature")
	}
}

// apart signs a package on a machine that does not have it, and compares it with the package
// signed here.
func apart(t *testing.T, keys, file string, signed []byte) {
	t.Helper()
	program, dir := harness.Program(t), t.TempDir()
	digests, made := filepath.Join(dir, "digests"), filepath.Join(dir, "signed")
	harness.Must(t, program, "rpm", "digests", "-o", digests, file)
	harness.Must(t, program, append(version3(keys, "manifest", "sign"), digests, "-o", made)...)
	harness.Must(t, program, "manifest", "apply", "--key-for", "v3", "--cert", filepath.Join(keys, "x509_ima.crt"), "--output-dir", dir, made, file)
	got := content(t, filepath.Join(dir, filepath.Base(file)))
	if ecdsa := strings.HasPrefix(filepath.Base(keys), "p"); !ecdsa && !bytes.Equal(got, signed) {
		t.Error("signed elsewhere, the package differs")
	}
}

// TestVersionsMixed replaces version 2 signatures by version 3 ones, of some files and of all.
func TestVersionsMixed(t *testing.T) {
	old, keys, program := harness.Keys(t, "rsa2048"), harness.Keys(t, "mldsa44"), harness.Program(t)
	path := packages.Copy(t, "rich", t.TempDir())
	rpmSign(t, old, path)
	before := content(t, path)
	sign := append(version3(keys, "rpm", "sign"), path)
	if r := harness.Run(t, program, sign...); r.Code != 1 || !bytes.Equal(content(t, path), before) {
		t.Errorf("another key's signatures are replaced: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	id, _, _ := strings.Cut(signatures(t, path)["/usr/bin/script"][6:], " ")
	rotate := append([]string{}, sign...)
	rotate = append(rotate, "--from-key-id", id[:8])
	harness.Must(t, program, append(rotate, "--include", "/usr/bin")...)
	versions := func() (two, three int) {
		for _, s := range signatures(t, path) {
			switch {
			case strings.HasPrefix(s, "0302"):
				two++
			case strings.HasPrefix(s, "0303"):
				three++
			}
		}
		return two, three
	}
	if two, three := versions(); two != 20 || three != 6 {
		t.Errorf("%d signatures of version 2, and %d of version 3", two, three)
	}
	if got := packages.Query(t, path, "%{FILESIGNATURELENGTH}"); got != "2429" {
		t.Errorf("FILESIGNATURELENGTH is %s", got)
	}
	if out := harness.Must(t, program, "rpm", "show", path); !strings.Contains(out, "version 2, version 3, key id ") {
		t.Errorf("rpm show: %s", out)
	}
	harness.Must(t, program, "rpm", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), "--cert", filepath.Join(old, "x509_ima.crt"), path)
	harness.Must(t, program, rotate...)
	if two, three := versions(); two != 0 || three != 26 {
		t.Errorf("%d signatures of version 2, and %d of version 3", two, three)
	}
	harness.Must(t, program, "rpm", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), path)
}

// TestHeaderFull checks that a package with more files than a header has room for ML-DSA
// signatures is refused before anything is signed, and that rpm reads the largest one.
func TestHeaderFull(t *testing.T) {
	keys, program := harness.Keys(t, "mldsa65"), harness.Program(t)
	dir := t.TempDir()
	path := packages.Copy(t, "many", dir)
	before := content(t, path)
	for _, flags := range [][]string{nil, {"--dry-run"}} {
		r := harness.Run(t, program, append(append(version3(keys, "rpm", "sign"), flags...), path)...)
		if r.Code != 1 || !strings.Contains(r.Err, "there is room for 10109 signatures of 3318 bytes, or for all 20") || !bytes.Equal(content(t, path), before) {
			t.Errorf("exit %d: %s%s", r.Code, r.Out, r.Err)
		}
	}
	if !harness.Nightly() {
		return
	}
	names := packages.Files(t, path)
	sign := version3(keys, "rpm", "sign")
	for _, e := range names[len(names)/2:] {
		sign = append(sign, "--exclude", e.Path)
	}
	harness.Must(t, program, append(sign, path)...)
	if r := packages.Checksig(t, path); r.Code != 0 || packages.Query(t, path, "%{FILESIGNATURES:arraysize}") == "" {
		t.Errorf("rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// TestRepositoryVersion3 signs a repository with an ML-DSA key. createrepo_c lists its
// packages, and dnf installs one.
func TestRepositoryVersion3(t *testing.T) {
	keys, program := harness.Keys(t, "mldsa65"), harness.Program(t)
	dir, out := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "out")
	check(t, os.Mkdir(dir, 0o755))
	packages.Repository(t, dir, "zstd", "rich")
	certificate := filepath.Join(keys, "x509_ima.crt")
	harness.Must(t, program, append(version3(keys, "repo", "sign"), "-o", out, dir)...)
	harness.Must(t, program, "repo", "verify", "--cert", certificate, out)
	if r := harness.Run(t, program, "repo", "verify", "--cert", certificate, dir); r.Code != 3 {
		t.Errorf("the old repository: exit %d", r.Code)
	}
	root := harness.LargeXattrs(t)
	if r := (packages.DNF{Repository: out, Root: root}).Install(t, "imatest-zstd"); r.Code != 0 {
		t.Fatalf("dnf install: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for name, signature := range signatures(t, filepath.Join(out, filepath.Base(packages.Path(t, "zstd")))) {
		if got := packages.SecurityIMA(t, filepath.Join(root, name)); signature != "" && got != signature {
			t.Errorf("%s has another security.ima than the package says", name)
		}
	}
	stripped := filepath.Join(t.TempDir(), "stripped")
	harness.Must(t, program, "repo", "strip", "-o", stripped, out)
	for _, file := range []string{"zstd", "rich"} {
		path := packages.Path(t, file)
		if !bytes.Equal(content(t, filepath.Join(stripped, filepath.Base(path))), content(t, path)) {
			t.Errorf("signed and stripped, %s is not what it was", file)
		}
	}
}

// TestNoRoom installs an ML-DSA package where ext4 has no room: rpm fails, as the warning
// of rpm sign says.
func TestNoRoom(t *testing.T) {
	harness.Root(t)
	keys := harness.Keys(t, "mldsa65")
	path := packages.Copy(t, "zstd", t.TempDir())
	r := harness.Run(t, harness.Program(t), append(version3(keys, "rpm", "sign"), path)...)
	if r.Code != 0 || !strings.Contains(r.Err, "mkfs.ext4 -b 4096 or -O ea_inode") {
		t.Fatalf("exit %d: %s", r.Code, r.Err)
	}
	dir := t.TempDir()
	image, root := filepath.Join(dir, "image"), filepath.Join(dir, "root")
	check(t, os.Mkdir(root, 0o755))
	harness.Must(t, "mkfs.ext4", "-q", "-b", "1024", image, "64M")
	harness.Must(t, "mount", "-o", "loop", image, root)
	defer harness.Must(t, "umount", root)
	cmd := exec.Command("rpm", "-i", "--root", root, "--nodeps", "--noscripts", "--nosignature", "--define", "__plugindir "+packages.PluginDir(t), path)
	if r := harness.RunCommand(t, cmd); r.Code == 0 || !strings.Contains(r.Err, "No space left on device") {
		t.Errorf("rpm -i: exit %d: %s", r.Code, r.Err)
	}
}

// TestContentSignedTwice checks that a package with contents that version 3 and EVM signatures
// are over is refused in version 2, and signed in version 3.
func TestContentSignedTwice(t *testing.T) {
	keys, program := harness.Keys(t, "p256"), harness.Program(t)
	path := packages.Copy(t, "ambiguous-zstd", t.TempDir())
	before := content(t, path)
	certificate := filepath.Join(keys, "x509_ima.crt")
	refused := func(args ...string) {
		t.Helper()
		r := harness.Run(t, program, args...)
		for _, name := range []string{"fileid.bin", "link.bin", "evm.bin"} {
			if r.Code == 0 || !strings.Contains(r.Out+r.Err, name) {
				t.Errorf("%s: exit %d, without %s: %s%s", args, r.Code, name, r.Out, r.Err)
			}
		}
		if strings.Contains(r.Err, "more: ") || strings.Contains(r.Err, "/text: ") {
			t.Errorf("a harmless file is named: %s", r.Err)
		}
	}
	refused(append(append([]string{"rpm", "sign"}, keyFlags(keys)...), path)...)
	if !bytes.Equal(content(t, path), before) {
		t.Error("the refused package has changed")
	}
	rpmSign(t, keys, "--exclude", "*.bin", path)
	harness.Must(t, program, "rpm", "verify", "--exclude", "*.bin", "--cert", certificate, path)

	// Signatures that were made from the digests alone are refused, too.
	digests, made := filepath.Join(t.TempDir(), "digests"), filepath.Join(t.TempDir(), "signed")
	if r := harness.Run(t, program, "rpm", "digests", "-o", digests, path); r.Code != 0 || strings.Count(r.Err, "give the list only to a key for version 3") != 3 {
		t.Errorf("rpm digests: exit %d: %s", r.Code, r.Err)
	}
	harness.Must(t, program, append(append([]string{"manifest", "sign"}, keyFlags(keys)...), digests, "-o", made)...)
	refused("manifest", "apply", "--cert", certificate, "--output-dir", t.TempDir(), made, path)

	check(t, os.WriteFile(path, before, 0o644))
	harness.Must(t, program, append(version3(keys, "rpm", "sign"), path)...)
	harness.Must(t, program, "rpm", "verify", "--key-for", "v3", "--cert", certificate, path)
}
