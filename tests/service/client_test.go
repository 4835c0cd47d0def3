package service

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestReceiptsFile checks that each batch has a receipt that verifies, that all files are in the
// receipts, and that the file appears when the manifest does.
func TestReceiptsFile(t *testing.T) {
	t.Parallel()
	s := started(t, harness.Keys(t, "p256"))
	tree, out := files(t, 200), t.TempDir()
	path, manifest, plain := filepath.Join(out, "receipts"), filepath.Join(out, "manifest"), filepath.Join(out, "plain")
	logKey := s.path("requester", "log.pub")
	s.signed(s.build(), "rootfs sign", "--receipts", path, "--manifest", manifest, tree)
	s.accepted(tree)
	verifier, err := note.NewVerifier(strings.TrimSpace(read(t, logKey)))
	check(t, err)
	digests := uint64(0)
	for line := range strings.Lines(read(t, path)) {
		var r struct {
			Server, Proof string
			Record        []byte
		}
		check(t, json.Unmarshal([]byte(line), &r))
		proof, err := protocol.ParseProof(r.Proof)
		check(t, err)
		_, err = proof.Check(r.Record, verifier)
		check(t, err)
		record, err := protocol.DecodeRecord(r.Record)
		check(t, err)
		if digests += record.Digests; r.Server != s.address || record.Requester != "build" {
			t.Errorf("%s, %+v", r.Server, record)
		}
	}
	if digests != 200 {
		t.Errorf("the receipts are for %d digests", digests)
	}
	// A P-256 key in a file always makes the same signature, so the manifests can be compared.
	harness.Must(t, s.program, "rootfs", "strip", tree)
	s.signed(s.build(), "rootfs sign", "--cache", "none", "--manifest", plain, tree)
	if read(t, plain) != read(t, manifest) {
		t.Error("receipts change the manifest")
	}

	check(t, os.Remove(path))
	check(t, os.Remove(manifest))
	harness.Must(t, s.program, "rootfs", "strip", tree)
	r := s.client(strings.Replace(s.build(), "log="+logKey, "log="+s.foreignLog(), 1), "rootfs sign", "--cache", "none", "--receipts", path, "--manifest", manifest, tree)
	demand(t, r.Err, "its receipt")
	for _, name := range []string{path, manifest} {
		if _, err := os.Lstat(name); !os.IsNotExist(err) || r.Code != 1 {
			t.Errorf("exit %d: %s: %v", r.Code, name, err)
		}
	}
}

// foreignLog returns the file with the key of another log of the same name.
func (s *service) foreignLog() string {
	s.Helper()
	name, _, _ := strings.Cut(read(s, s.path("requester", "log.pub")), "+")
	_, key, err := note.GenerateKey(nil, name)
	check(s, err)
	path := filepath.Join(s.TempDir(), "log.pub")
	write(s, path, key)
	return path
}

// TestPackagesShareRequests signs packages of five files, and counts the requests.
func TestPackagesShareRequests(t *testing.T) {
	t.Parallel()
	n := 120
	if harness.Nightly() {
		n = 5000
	}
	s := started(t, harness.Keys(t, "p256"))
	dir := smallPackages(t, n)
	s.signed(s.build(), "rpm sign", "--jobs", "2", dir)
	harness.Must(t, s.program, "rpm", "verify", "--cert", s.certificate(), dir)
	signatures, requests := s.metric("imasign_signatures_total"), s.metric("imasign_batches_total")
	if signatures != float64(5*n) || signatures < 64*requests {
		t.Errorf("%v requests for %v signatures, %.1f in each", requests, signatures, signatures/requests)
	}
	t.Logf("%v requests for %v signatures", requests, signatures)
}

// smallPackages makes packages of five files each, all different.
func smallPackages(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	var spec, list strings.Builder
	spec.WriteString("Name: small\nVersion: 1\nRelease: 1\nSummary: Small\nLicense: MIT\nAutoReqProv: no\nBuildArch: noarch\n%description\n%install\n")
	fmt.Fprintf(&spec, "for i in $(seq %d); do mkdir -p %%{buildroot}/opt/$i; for j in 1 2 3 4 5; do echo $i.$j > %%{buildroot}/opt/$i/$j; done; done\n", n)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&list, "%%package p%[1]d\nSummary: Small\n%%description p%[1]d\n%%files p%[1]d\n/opt/%[1]d\n", i)
	}
	write(t, filepath.Join(dir, "small.spec"), spec.String()+list.String())
	out := filepath.Join(dir, "out")
	cmd := exec.Command(harness.Tool(t, "rpmbuild"), "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_tmppath "+dir, "--define", "_rpmdir "+out,
		"--define", "_binary_payload w.ufdio", "--define", "__os_install_post %{nil}", filepath.Join(dir, "small.spec"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// TestKeyShow describes the key of a service, with an encrypted identity, and without a
// certificate.
func TestKeyShow(t *testing.T) {
	t.Parallel()
	s := started(t, harness.Keys(t, "p256"))
	dir := t.TempDir()
	identity, pass := filepath.Join(dir, "identity.pem"), filepath.Join(dir, "pass")
	write(t, pass, "secret\n")
	encrypted := harness.Must(t, harness.Tool(t, "openssl"), "pkcs8", "-topk8", "-v2", "aes256", "-passout", "file:"+pass, "-in", s.path("requester", "identity.pem"))
	_, certificate, _ := strings.Cut(read(t, s.path("requester", "identity.pem")), "-----BEGIN CERTIFICATE")
	write(t, identity, encrypted+"-----BEGIN CERTIFICATE"+certificate)
	id := harness.Must(t, s.program, "key", "show", s.certificate())
	r := harness.Run(t, s.program, "key", "show", "--key-pass", "file:"+pass, s.key(identity))
	demand(t, r.Out, "p256", "signing service at "+s.address, between(id, "key id"))
	demand(t, r.Err, "is the one that the service itself sent: name the one that devices trust with --cert")
	r = harness.Run(t, s.program, "key", "show", s.key(identity))
	demand(t, r.Err, "the key is encrypted and needs its passphrase")
}

// between returns the rest of the line that contains a word.
func between(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(line, " :")
}
