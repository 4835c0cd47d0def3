//go:build cgo && linux

package libcrypto

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestMain runs the tests, or is the child of TestOtherLibraries.
func TestMain(m *testing.M) {
	if os.Getenv("LIBCRYPTO_CHILD") == "" {
		os.Exit(m.Run())
	}
	l, err := Load()
	if err == nil {
		fmt.Print(l.Version())
	} else if !errors.Is(err, ErrUnavailable) {
		os.Exit(1)
	}
	fmt.Print(err)
	os.Exit(0)
}

// TestOtherLibraries loads files that are called libcrypto.so.3 but cannot be used.
func TestOtherLibraries(t *testing.T) {
	gcc := harness.Tool(t, "gcc")
	empty := func(path string) {
		if out, err := exec.Command(gcc, "-shared", "-o", path, "-x", "c", "/dev/null").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for name, c := range map[string]struct {
		write func(path string)
		want  string
	}{
		"the real one":  {func(string) {}, "OpenSSL 3."},
		"without names": {empty, "libcrypto is not available: libcrypto.so.3 has no OpenSSL_version"},
		"a text": {func(path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("text "), 2000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "libcrypto is not available: "},
	} {
		dir := t.TempDir()
		c.write(filepath.Join(dir, "libcrypto.so.3"))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LIBCRYPTO_CHILD=1", "LD_LIBRARY_PATH="+dir)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), c.want) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

func TestInvalidKeys(t *testing.T) {
	l, k := load(t), generate(t, 2048)
	public, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private := x509.MarshalPKCS1PrivateKey(k)
	for name, c := range map[string]struct {
		private, public []byte
		want            string
	}{
		"no public key":     {private, nil, "read public key"},
		"a damaged one":     {private, public[:len(public)-1], "read public key"},
		"a private one":     {private, private, "read public key"},
		"no private key":    {[]byte{0x30}, public, "read private key"},
		"a public one":      {public, public, "read private key"},
		"a short one":       {private[:len(private)-1], public, "read private key"},
		"neither is a key":  {[]byte("x"), []byte("x"), "read public key"},
		"longer than it is": {append([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, private...), public, "read private key"},
	} {
		if _, err := l.newKey(c.private, c.public); err == nil || !strings.Contains(err.Error(), c.want+": error:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInvalidWorkers(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for _, der := range [][]byte{nil, private} {
		key, err := load(t).newKey(der, public)
		if err != nil {
			t.Fatal(err)
		}
		defer key.free()
		if _, err := key.newWorker("SHA256", true); err == nil || !strings.Contains(err.Error(), "prepare the key") {
			t.Errorf("padding for an EC key: %v", err)
		}
		if _, err := key.newWorker("no such", false); err == nil || !strings.Contains(err.Error(), "no such hash") {
			t.Errorf("an unknown hash: %v", err)
		}
	}
}

// TestWrongSizes signs with buffers of many sizes around the right one, and checks that
// every other size is an error and that nothing is written beyond the buffer.
func TestWrongSizes(t *testing.T) {
	k := generate(t, 2048)
	r := open(t, k)
	list := digests(crypto.SHA256, 2)
	w, err := r.key.newWorker("SHA256", true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.free()
	for size := 1; size <= 2*k.Size(); size += 51 {
		const guard = 0x55
		room := bytes.Repeat([]byte{guard}, 2*size+64)
		err := w.sign(2, slices.Concat(list...), room[:2*size])
		if (err == nil) != (size == k.Size()) || errors.Is(err, ErrVerify) {
			t.Errorf("%d bytes for each signature: %v", size, err)
		}
		if len(bytes.Trim(room[2*size:], string(rune(guard)))) > 0 {
			t.Errorf("%d bytes for each signature: more were written", size)
		}
	}
	for _, size := range []int{0, 31, 33} {
		if err := w.sign(1, make([]byte, size), make([]byte, k.Size())); err == nil {
			t.Errorf("a digest of %d bytes: no error", size)
		}
	}
}
