package service

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestSecretsStayWhereTheyAre searches what servers and clients write and show for the PIN of
// the signing key, for the key of a requester and for the passphrase of that.
func TestSecretsStayWhereTheyAre(t *testing.T) { // not parallel: SoftHSM needs a variable
	harness.Root(t)
	const pin, passphrase = "8-2-9-4-5-1", "a passphrase of the requester"
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "service", pin)
	keys := filepath.Join(t.TempDir(), "keys")
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "p256", "--on", h.URI(t, "service", "", pin), keys)
	s := newService(t, keys, "--key", "image=pkcs11:token=service;object=x509_ima?module-path="+h.Module, "--key-pass", "file:"+harness.SecretFile(t, pin))
	s.start()
	out, tree := t.TempDir(), files(t, 30)
	own := s.own()
	encrypted := filepath.Join(t.TempDir(), "encrypted.pem")
	pass := harness.SecretFile(t, passphrase)
	harness.Must(t, "openssl", "pkcs8", "-topk8", "-in", own.file, "-out", encrypted, "-passout", "file:"+pass)
	_, certificate, _ := strings.Cut(read(t, own.file), "-----END PRIVATE KEY-----\n")
	write(t, encrypted, read(t, encrypted)+certificate)

	clients := []harness.Result{
		s.signed(s.key(encrypted), "rootfs sign", "--key-pass", "file:"+pass, "--manifest", filepath.Join(out, "manifest"), "--receipts", filepath.Join(out, "receipts"), tree),
		s.client(s.key(encrypted), "rootfs sign", "--key-pass", "file:"+harness.SecretFile(t, passphrase+"?"), tree),
		s.client(s.key(encrypted), "rootfs sign", "--key-pass", "file:"+pass, filepath.Join(tree, "missing")),
	}
	argv, environ := s.process("cmdline"), s.process("environ")
	s.metric("imasign_ready")
	s.stop()

	written := map[string]string{"arguments": argv, "environment": environ, "the server's log": read(t, s.output)}
	for _, r := range clients {
		written["the clients' output"] += r.Out + r.Err
	}
	for _, dir := range []string{s.path("log"), out} {
		check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				written[path] = read(t, path)
			}
			return err
		}))
	}
	if len(written) < 8 {
		t.Fatalf("only %d places", len(written))
	}
	seed := own.key.Seed()
	_, text, _ := strings.Cut(read(t, own.file), "-----\n")
	secrets := map[string][]byte{
		"PIN": []byte(pin), "passphrase": []byte(passphrase), "key": seed, "key in hex": []byte(hex.EncodeToString(seed)),
		"key in base64": []byte(base64.StdEncoding.EncodeToString(seed)), "key in PEM": []byte(text[:40]),
	}
	for place, content := range written {
		for name, secret := range secrets {
			if bytes.Contains([]byte(content), secret) {
				t.Errorf("the %s is in %s", name, place)
			}
		}
	}
	wrong := clients[1]
	if wrong.Code != 1 || clients[2].Code == 0 {
		t.Errorf("exit %d with a wrong passphrase, %d without a tree", wrong.Code, clients[2].Code)
	}
}

// process returns what /proc has about the server.
func (s *service) process(file string) string {
	s.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", s.pid(), file))
	check(s, err)
	return string(data)
}
