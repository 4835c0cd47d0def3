package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// SoftHSM is a private SoftHSM2: a PKCS#11 module with tokens in a directory of
// the test's own.
type SoftHSM struct {
	Module string
	Tokens string // directory
}

// NewSoftHSM points SOFTHSM2_CONF, of this process and of those that it starts, to
// a SoftHSM2 without tokens.
func NewSoftHSM(t testing.TB) *SoftHSM {
	t.Helper()
	dir := t.TempDir()
	h := &SoftHSM{Module: "/usr/lib/softhsm/libsofthsm2.so", Tokens: filepath.Join(dir, "tokens")}
	if _, err := os.Stat(h.Module); err != nil {
		t.Fatalf("%s is missing; tests/deps.sh installs it", h.Module)
	}
	if err := os.Mkdir(h.Tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + h.Tokens + "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = true\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	return h
}

// InitToken makes a token; its security officer's PIN is "so-" and the PIN.
func (h *SoftHSM) InitToken(t testing.TB, label, pin string) {
	t.Helper()
	Must(t, Tool(t, "softhsm2-util"), "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-"+pin)
}

// URI names an object in a token, with the PIN in a file.
func (h *SoftHSM) URI(t testing.TB, token, object, pin string) string {
	t.Helper()
	uri := "pkcs11:token=" + token
	if object != "" {
		uri += ";object=" + object
	}
	return uri + "?module-path=" + h.Module + "&pin-source=file:" + SecretFile(t, pin)
}

// SecretFile puts a secret into a file of the test's own.
func SecretFile(t testing.TB, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
