package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestThePassphraseIsForgotten reads the memory of the program while it signs. OpenSSL
// encrypted the key, in each of its ways.
func TestThePassphraseIsForgotten(t *testing.T) {
	harness.Root(t)
	openssl, dir := harness.Tool(t, "openssl"), t.TempDir()
	clearKey := filepath.Join(dir, "clear")
	harness.Must(t, openssl, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", clearKey)
	for _, secret := range []string{passphrase, strings.Repeat(passphrase, 6)} {
		file := filepath.Join(dir, "pass")
		check(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
		for name, how := range map[string][]string{
			"PBKDF2": {"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", clearKey, "-passout", "file:" + file},
			"scrypt": {"pkcs8", "-topk8", "-scrypt", "-in", clearKey, "-passout", "file:" + file},
			"legacy": {"pkey", "-traditional", "-aes256", "-in", clearKey, "-passout", "file:" + file},
		} {
			key := filepath.Join(dir, name)
			harness.Must(t, openssl, append(how, "-out", key)...)
			check(t, os.Chmod(key, 0o600))
			t.Run(fmt.Sprintf("%s, %d bytes", name, len(secret)), func(t *testing.T) {
				tree := t.TempDir()
				huge := endless(t, tree)
				r := start(t, nil, "rootfs", "sign", "--key", key, "--key-pass", "file:"+file, tree)
				r.planning(t, huge)
				r.forgotten(t)
				r.signal(t, syscall.SIGINT)
				r.end(t, 1)
			})
		}
	}
}

// forgotten checks that no writable memory of the program contains the passphrase.
func (r *running) forgotten(t *testing.T) {
	t.Helper()
	maps, err := os.Open(r.proc("maps"))
	check(t, err)
	defer maps.Close()
	memory, err := os.Open(r.proc("mem"))
	check(t, err)
	defer memory.Close()
	seen := 0
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var mode string
		_, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode)
		check(t, err)
		if !strings.Contains(mode, "w") || to-from > 1<<30 {
			continue
		}
		content := make([]byte, to-from)
		n, _ := memory.ReadAt(content, int64(from)) // parts may be reserved without being readable
		seen += n
		if at := bytes.Index(content[:n], []byte(passphrase)); at >= 0 {
			t.Errorf("the passphrase is at %#x of %s: %q", from+uint64(at), lines.Text(), content[max(0, at-32):min(n, at+64)])
		}
	}
	if seen < 1<<20 {
		t.Errorf("only %d bytes of memory could be read", seen)
	}
}
