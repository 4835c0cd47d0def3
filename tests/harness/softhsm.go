package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// SoftHSM is a PKCS#11 module, SoftHSM2, whose tokens are in a directory of the test.
type SoftHSM struct {
	Module string
	Tokens string // directory
}

// NewSoftHSM sets SOFTHSM2_CONF, for this process and its children, to a configuration
// without tokens.
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

// InitToken makes a token. The security officer's PIN is "so-" followed by the PIN.
func (h *SoftHSM) InitToken(t testing.TB, label, pin string) {
	t.Helper()
	Must(t, Tool(t, "softhsm2-util"), "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-"+pin)
}

// URI returns the URI of an object in a token, with the PIN in a file.
func (h *SoftHSM) URI(t testing.TB, token, object, pin string) string {
	t.Helper()
	uri := "pkcs11:token=" + token
	if object != "" {
		uri += ";object=" + object
	}
	return uri + "?module-path=" + h.Module + "&pin-source=file:" + SecretFile(t, pin)
}

// SecretFile writes a secret to a temporary file and returns its path.
func SecretFile(t testing.TB, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
