package rpmsign

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// ring is a gpg home with the keys that a test makes.
type ring struct{ home string }

func newRing(t *testing.T) ring {
	t.Helper()
	harness.Tool(t, "gpg")
	home, err := os.MkdirTemp("", "gpg-*") // short, because gpg puts its socket there
	check(t, err)
	r := ring{home}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	return r
}

func (r ring) gpg(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("gpg", append([]string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--homedir", r.home}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.String())
	}
	return out
}

// key makes a key and exports its secret part.
func (r ring) key(t *testing.T, algorithm, usage, expires, pass string) []byte {
	t.Helper()
	r.gpg(t, "--passphrase", pass, "--quick-generate-key", "a@example.invalid", algorithm, usage, expires)
	return r.secret(t, pass)
}

func (r ring) secret(t *testing.T, pass string) []byte {
	t.Helper()
	return r.gpg(t, "--passphrase", pass, "--armor", "--export-secret-keys", "a@example.invalid")
}

// trusted makes an rpm database that trusts the ring's key.
func (r ring) trusted(t *testing.T) string {
	t.Helper()
	public := filepath.Join(r.home, "public.asc")
	check(t, os.WriteFile(public, r.gpg(t, "--armor", "--export"), 0o600))
	db := filepath.Join(r.home, "rpmdb")
	rpmkeys(t, db, "--import", public)
	return db
}

func rpmkeys(t *testing.T, db string, args ...string) string {
	t.Helper()
	cmd := exec.Command("rpmkeys", append([]string{"--dbpath", db}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + db, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func readKey(t *testing.T, secret []byte, pass string) *OpenPGPKey {
	t.Helper()
	key, err := ReadOpenPGPKey(bytes.NewReader(secret), func() ([]byte, error) { return []byte(pass), nil }, time.Time{})
	check(t, err)
	return key
}

// TestOpenPGPSigns signs packages with keys of gpg. rpm verifies them with the public key.
func TestOpenPGPSigns(t *testing.T) {
	for algorithm, want := range map[string]string{"rsa2048": "RSA/SHA256 Signature", "ed25519": "EdDSA/SHA256 Signature", "nistp256": "ECDSA/SHA256"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			r := newRing(t)
			key := readKey(t, r.key(t, algorithm, "sign", "never", ""), "")
			s := signer(t, "p256")
			s.Options.OpenPGP = key
			db := ""
			if algorithm != "nistp256" { // rpm 4.18 does not support ECDSA
				db = r.trusted(t)
			}
			for _, name := range []string{"zstd", "openpgp-rsa", "el6", "rich"} {
				path := packages.Copy(t, name, t.TempDir())
				run(t, s, path)
				if db == "" {
					wantTags(t, path, tagDSA, name == "el6")
					continue
				}
				out := rpmkeys(t, db, "-Kv", path)
				if strings.Count(out, want) != map[bool]int{true: 2, false: 1}[name == "el6"] || !strings.Contains(out, "OK") || strings.Contains(out, "NOKEY") || strings.Contains(out, "BAD") {
					t.Errorf("%s: %s", name, out)
				}
				wantTags(t, path, map[bool]tagNumber{true: tagRSA, false: tagDSA}[algorithm == "rsa2048"], name == "el6")
				before := content(t, path)
				if r := run(t, s, path); r.Changed || !bytes.Equal(before, content(t, path)) {
					t.Errorf("%s: signed again: %+v", name, r)
				}
				verify(t, path, "p256")
			}
		})
	}
}

// wantTags checks that the only OpenPGP signature over the main header has the tag, and that
// there is one over header and payload if the package needs it.
func wantTags(t *testing.T, path string, tag tagNumber, both bool) {
	t.Helper()
	p := mustParse(t, content(t, path))
	second := map[tagNumber]tagNumber{tagRSA: tagPGP, tagDSA: tagGPG}[tag]
	for _, other := range openPGPTags() {
		if want := other == tag || both && other == second; p.sig.has(other) != want {
			t.Errorf("%s: %s there: %t", path, signatureTagName(other), !want)
		}
	}
	if s := p.Info().OpenPGP; len(s) == 0 || s[0].Tag != signatureTagName(tag) || len(s[0].KeyID) != 16 || s[0].Hash != "sha-256" {
		t.Errorf("%+v", s)
	}
}

// TestOpenPGPv6 checks that the signature of a v6 package is where rpm 6 expects it, in
// base64.
func TestOpenPGPv6(t *testing.T) {
	secret := content(t, vectors+"keys/openpgp-ed25519.secret.asc")
	s := signer(t, "p256")
	s.Options.OpenPGP = readKey(t, secret, "")
	path := put(t, content(t, vectors+"v6/sha256.rpm"))
	run(t, s, path)
	p := mustParse(t, content(t, path))
	for _, tag := range openPGPTags() {
		if p.sig.has(tag) != (tag == tagOpenPGP) {
			t.Errorf("%s there: %t", signatureTagName(tag), p.sig.has(tag))
		}
	}
	if !p.signedBy(s.Options.OpenPGP) || len(p.Info().OpenPGP) != 1 {
		t.Errorf("%+v", p.Info().OpenPGP)
	}
	if theirs := mustParse(t, content(t, vectors+"v6/openpgp.rpm")); len(theirs.Info().OpenPGP) != 1 {
		t.Errorf("of rpm 6: %+v", theirs.Info().OpenPGP)
	}
	strictOrder(t, path, p)
}

func TestOpenPGPPassphrase(t *testing.T) {
	const pass = "correct-horse-9"
	r := newRing(t)
	secret := r.key(t, "ed25519", "sign", "never", pass)
	asked := 0
	buf := []byte(pass)
	key, err := ReadOpenPGPKey(bytes.NewReader(secret), func() ([]byte, error) { asked++; return buf, nil }, time.Time{})
	check(t, err)
	if asked != 1 || bytes.ContainsAny(buf, "corethsn9") {
		t.Errorf("asked %d times, passphrase is %q", asked, buf)
	}
	_, err = key.signature(strings.NewReader("text"))
	check(t, err)
	for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%+v", key), fmt.Sprintf("%#v", key), fmt.Sprint(*key)} {
		if text != "OpenPGP key "+key.id() {
			t.Errorf("printed as %q", text)
		}
	}
	refuse := errors.New("no terminal")
	for name, c := range map[string]struct {
		ask  func() ([]byte, error)
		want error
	}{
		"wrong":     {func() ([]byte, error) { return []byte("wrong-secret"), nil }, ErrOpenPGPLocked},
		"empty":     {func() ([]byte, error) { return nil, nil }, ErrOpenPGPLocked},
		"nobody":    {nil, ErrOpenPGPLocked},
		"ask fails": {func() ([]byte, error) { return nil, refuse }, refuse},
	} {
		_, err := ReadOpenPGPKey(bytes.NewReader(secret), c.ask, time.Time{})
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "secret") && name == "wrong" && strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenPGPKeysRefused checks keys that cannot sign, or whose signatures rpm would not
// accept.
func TestOpenPGPKeysRefused(t *testing.T) {
	r := newRing(t)
	good := r.key(t, "ed25519", "sign", "never", "")
	expired := newRing(t)
	expired.gpg(t, "--passphrase", "", "--faked-system-time", "20200101T000000", "--quick-generate-key", "a@example.invalid", "ed25519", "sign", "1d")
	certify := newRing(t)
	stub := newRing(t)
	stub.gpg(t, "--passphrase", "", "--quick-generate-key", "a@example.invalid", "ed25519", "cert,sign", "never")
	for name, secret := range map[string][]byte{
		"public key":  r.gpg(t, "--armor", "--export"),
		"two keys":    append(bytes.Clone(r.gpg(t, "--export-secret-keys")), newRingKey(t)...),
		"expired":     expired.secret(t, ""),
		"cannot sign": certify.key(t, "ed25519", "cert", "never", ""),
		"stub":        stub.gpg(t, "--armor", "--export-secret-subkeys", "a@example.invalid"),
		"text":        []byte("hello"),
		"nothing":     nil,
		"half":        good[:len(good)/2],
		"armor alone": []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n-----END PGP PRIVATE KEY BLOCK-----\n"),
		"too large":   make([]byte, maxKey+1),
	} {
		if _, err := ReadOpenPGPKey(bytes.NewReader(secret), nil, time.Time{}); !errors.Is(err, ErrOpenPGPKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if key := readKey(t, r.gpg(t, "--export-secret-keys"), ""); key.id() != readKey(t, good, "").id() {
		t.Error("the key without armor is another one")
	}
}

func newRingKey(t *testing.T) []byte {
	t.Helper()
	r := newRing(t)
	r.key(t, "ed25519", "sign", "never", "")
	return r.gpg(t, "--export-secret-keys")
}

// TestOpenPGPSubkey signs with the subkey that is for signing.
func TestOpenPGPSubkey(t *testing.T) {
	r := newRing(t)
	r.key(t, "ed25519", "cert", "never", "")
	fingerprint := ""
	for line := range strings.Lines(string(r.gpg(t, "--with-colons", "--list-keys"))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			fingerprint = f[9]
		}
	}
	r.gpg(t, "--passphrase", "", "--quick-add-key", fingerprint, "rsa2048", "sign", "never")
	key := readKey(t, r.secret(t, ""), "")
	if strings.EqualFold(fingerprint[24:], key.id()) {
		t.Error("it is the primary key")
	}
	s := signer(t, "p256")
	s.Options.OpenPGP = key
	path := packages.Copy(t, "zstd", t.TempDir())
	run(t, s, path)
	wantTags(t, path, tagRSA, false)
	wantGPG(t, r, key)
}

// wantGPG checks a detached signature with gpg.
func wantGPG(t *testing.T, r ring, key *OpenPGPKey) {
	t.Helper()
	signature, err := key.ArmoredSignature(strings.NewReader("text\n"))
	check(t, err)
	text, asc := filepath.Join(r.home, "text"), filepath.Join(r.home, "text.asc")
	check(t, os.WriteFile(text, []byte("text\n"), 0o600))
	check(t, os.WriteFile(asc, signature, 0o600))
	r.gpg(t, "--verify", asc, text)
	public, err := key.ArmoredPublicKey()
	check(t, err)
	other := newRing(t)
	check(t, os.WriteFile(filepath.Join(other.home, "key.asc"), public, 0o600))
	other.gpg(t, "--import", filepath.Join(other.home, "key.asc"))
	other.gpg(t, "--verify", asc, text)
	if bytes.Contains(public, []byte("PRIVATE")) || len(other.gpg(t, "--list-secret-keys")) > 0 {
		t.Error("the public key has the secret one")
	}
}

// TestOpenPGPIsReproducible checks that, with a date, the same package gets the same bytes.
func TestOpenPGPIsReproducible(t *testing.T) {
	for _, algorithm := range []string{"rsa2048", "ed25519"} {
		r := newRing(t)
		secret := r.key(t, algorithm, "sign", "never", "")
		date := time.Now().Truncate(time.Second).Add(2 * time.Second)
		var first []byte
		for range 2 {
			key, err := ReadOpenPGPKey(bytes.NewReader(secret), nil, date)
			check(t, err)
			path := packages.Copy(t, "zstd", t.TempDir())
			s := stripper(t)
			s.Options.OpenPGP = key
			run(t, s, path)
			if d := mustParse(t, content(t, path)).Info().OpenPGP[0].Date; !d.Equal(date) {
				t.Errorf("%s: signed at %s, not %s", algorithm, d, date)
			}
			if first != nil && !bytes.Equal(first, content(t, path)) {
				t.Errorf("%s: packages differ", algorithm)
			}
			first = content(t, path)
		}
	}
}
