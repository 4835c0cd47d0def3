package cache

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestNoSecret searches a cache, what is exported from it, and all output for the PIN of a token
// and for the key of a file. The names of files are not in a cache either.
func TestNoSecret(t *testing.T) {
	l := newLab(t)
	tree(t, l.path("tree-of-a-customer"), 20)
	said := l.must(append([]string{"rootfs", "sign", "--verbose", l.path("tree-of-a-customer")}, l.key()...)...)
	keys := harness.Keys(t, "p256")
	said += l.must("rootfs", "sign", "--verbose", "--force", "--cache", l.cache, "--key", keys, l.path("tree-of-a-customer"))
	said += l.must("cache", "stats", "--cache", l.cache) + l.must("cache", "export", "--cache", l.cache, l.path("mirror"))
	d := privateKey(t, filepath.Join(keys, "x509_ima.key"))
	secrets := map[string][]byte{"PIN": []byte(pin), "key": d, "key in hex": []byte(hex.EncodeToString(d)), "name of a file": []byte("file-007")}
	n := 0
	for _, dir := range []string{l.cache, l.path("mirror")} {
		for _, file := range harness.Files(t, dir) {
			data, err := os.ReadFile(file)
			check(t, err)
			for name, secret := range secrets {
				if bytes.Contains(data, secret) {
					t.Errorf("%s has the %s", file, name)
				}
			}
			n++
		}
	}
	if n < 10 {
		t.Errorf("only %d files were searched", n)
	}
	for _, name := range []string{"PIN", "key", "key in hex"} {
		if bytes.Contains([]byte(said), secrets[name]) {
			t.Errorf("the %s is printed", name)
		}
	}
}

// privateKey returns the secret number of a P-256 key.
func privateKey(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(t, err)
	d, err := key.(*ecdsa.PrivateKey).Bytes()
	check(t, err)
	return d
}
