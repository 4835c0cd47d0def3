package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestSignedPackages signs packages under a rule that wants their headers: only those that an
// OpenPGP key of the rule has signed, and only if they are not too old.
func TestSignedPackages(t *testing.T) {
	t.Parallel()
	s := newService(t, harness.Keys(t, "p256"))
	ring := s.path("packages.asc")
	write(t, ring, read(t, packages.PublicKey(t, "rsa")))
	s.rules("", "  - {name: packages, keys: [image], requesters: [build], forms: [v2], header: {keyring: packages.asc, built-after: 2023-01-01}}\n")
	s.start()
	dir := t.TempDir()
	good := packages.Copy(t, "openpgp-rsa", dir)
	s.signed(s.build(), "rpm sign", good)
	harness.Must(t, s.program, "rpm", "verify", "--cert", s.certificate(), good)
	if r := packages.Checksig(t, good); r.Code != 0 {
		t.Errorf("rpm refuses the package:\n%s%s", r.Out, r.Err)
	}
	refused := func(path string, parts ...string) {
		t.Helper()
		before := read(t, path)
		r := s.client(s.build(), "rpm sign", path)
		if r.Code != 1 || read(t, path) != before {
			t.Errorf("%s: exit %d", path, r.Code)
		}
		demand(t, r.Err, append(parts, "not-in-header", "rule packages")...)
	}
	refused(packages.Copy(t, "zstd", dir), "there is none over the header alone")
	refused(packages.Copy(t, "openpgp-ed25519", t.TempDir()), "no signing key in the keyring has its key id")
	tree := files(t, 3)
	s.refused(s.build(), tree, "not-in-header")
	s.configure("2023-01-01", "2026-01-01")
	s.reload()
	refused(packages.Copy(t, "openpgp-rich", dir), "the package was built at 2023-11-14")
	s.stop()
}

// TestApprovedRelease signs a tree, contents and metadata, that two people have approved, and
// nothing else.
func TestApprovedRelease(t *testing.T) {
	t.Parallel()
	keys, people := filepath.Join(t.TempDir(), "keys"), t.TempDir()
	s := &service{program: harness.Program(t)}
	harness.Must(t, s.program, "key", "init", "--algorithm", "p256", "--with", "evm", keys)
	s = newService(t, keys)
	check(t, os.Mkdir(s.path("approvals"), 0o755))
	var approvers strings.Builder
	for _, name := range []string{"alice", "bob", "carol"} {
		harness.Must(t, s.program, "key", "init", "--algorithm", "p256", filepath.Join(people, name))
		fmt.Fprintf(&approvers, "  - {name: %s, certificate: %s/%[1]s/x509_ima.crt}\n", name, people)
	}
	evm := filepath.Join(keys, "x509_evm")
	s.configure("\nkeys:\n", fmt.Sprintf("\napprovals: approvals\napprovers:\n%skeys:\n  - {name: evm, uri: %s.key, certificate: %[2]s.crt}\n", &approvers, evm))
	s.rules("", "  - {name: release, keys: [image, evm], requesters: [build], forms: [v2, evm], approved: {by: [alice, bob, carol], at-least: 2, origin: router}}\n")
	s.start()

	tree, dir := files(t, 40), t.TempDir()
	list := filepath.Join(dir, "m.jsonl")
	harness.Must(t, s.program, "rootfs", "sign", "--dry-run", "--manifest", list, tree)
	key := s.build()
	flags := []string{"--evm", "portable", "--evm-target", "64le", "--evm-key", strings.Replace(key, "/image?", "/evm?", 1), "--evm-cert", evm + ".crt"}
	sign := func() harness.Result { return s.client(key, "rootfs sign", append(flags, tree)...) }
	approve := func(name, cert, form string) {
		t.Helper()
		person := filepath.Join(people, name)
		harness.Must(t, s.program, "approve", list, "--yes", "--key", person, "--for-key", cert, "--form", form, "--origin", "router", "-o", filepath.Join(dir, name))
		copied, err := filepath.Glob(filepath.Join(dir, name, "*"))
		check(t, err)
		for _, file := range copied {
			write(t, s.path("approvals", filepath.Base(file)), read(t, file))
		}
	}
	// says signs until the answer has a text, or with "" until it succeeds: new files count within
	// a second.
	says := func(text string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			r := sign()
			switch {
			case text != "" && r.Code == 1 && strings.Contains(r.Err, text), text == "" && r.Code == 0:
				return
			case time.Now().After(end):
				t.Fatalf("exit %d, not %q:\n%s%s", r.Code, text, r.Out, r.Err)
			}
		}
	}
	says(`nobody has approved a manifest of "router"`)
	approve("alice", s.certificate(), "v2")
	says("has 1 of 2 approvals")
	approve("bob", s.certificate(), "v2")
	says("for this key, form and hash") // the contents are approved, but not the metadata
	approve("alice", evm+".crt", "evm")
	approve("carol", evm+".crt", "evm")
	says("")
	harness.Must(t, s.program, "rootfs", "verify", "--cert", s.certificate(), "--evm-cert", evm+".crt", "--evm-target", "64le", "--require-evm", tree)

	check(t, os.Chmod(filepath.Join(tree, "0", "file-7"), 0o4755))
	says(`"0/file-7": its approved metadata and this security.ima have another digest`)
	check(t, os.Chmod(filepath.Join(tree, "0", "file-7"), 0o644))
	write(t, filepath.Join(tree, "0", "file-8"), "malware")
	says(`"0/file-8": the sha256 digest`)
	s.stop()
}
