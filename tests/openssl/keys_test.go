package openssl

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/tests/harness"
)

const passphrase = "hunter2 is secret"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openssl runs openssl in dir, with $PASS and $WRONG set, and returns its output.
func openssl(t testing.TB, dir string, args ...string) string {
	t.Helper()
	r := run(t, dir, args...)
	if r.Code != 0 {
		t.Fatalf("openssl %s: exit %d\n%s%s", strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r.Out
}

func run(t testing.TB, dir string, args ...string) harness.Result {
	t.Helper()
	cmd := exec.Command(harness.Tool(t, "openssl"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PASS="+passphrase, "WRONG=wrong")
	return harness.RunCommand(t, cmd)
}

func secret(answer string) keystore.Secret {
	return func(context.Context, string) ([]byte, error) { return []byte(answer), nil }
}

func open(path string, secret keystore.Secret) (*keystore.Key, error) {
	backends := keystore.Backends{file.New()}
	return backends.Open(context.Background(), "file:"+path, keystore.Options{Secret: secret})
}

// form is a kind of key file that openssl writes. The last command writes "key".
type form struct {
	commands  []string
	encrypted bool
}

func forms() map[string]form {
	rsa := "genrsa -out clear 2048"
	ec := "ecparam -name prime256v1 -genkey -out clear"
	noparams := "ecparam -name secp384r1 -genkey -noout -out clear"
	enc := func(commands ...string) form { return form{commands, true} }
	plain := func(commands ...string) form { return form{commands, false} }
	return map[string]form{
		"genrsa":                      plain("genrsa -out key 2048"),
		"genrsa -traditional":         plain("genrsa -traditional -out key 3072"),
		"genrsa -aes256":              enc("genrsa -aes256 -passout env:PASS -out key 2048"),
		"genrsa -des3":                enc("genrsa -des3 -passout env:PASS -out key 2048"),
		"genrsa -aes256 -traditional": enc("genrsa -aes256 -traditional -passout env:PASS -out key 2048"),
		"genrsa -aes128 -traditional": enc("genrsa -aes128 -traditional -passout env:PASS -out key 2048"),
		"genrsa -des3 -traditional":   enc("genrsa -des3 -traditional -passout env:PASS -out key 2048"),
		"genpkey EC":                  plain("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key"),
		"ecparam with EC PARAMETERS":  plain("ecparam -name prime256v1 -genkey -out key"),
		"ecparam -noout":              plain("ecparam -name secp384r1 -genkey -noout -out key"),
		"ec -aes192":                  enc(noparams, "ec -in clear -aes192 -passout env:PASS -out key"),
		"ec DER":                      plain(ec, "ec -in clear -outform DER -out key"),
		"ec DER without public key":   plain(ec, "ec -in clear -no_public -outform DER -out key"),
		"ec compressed":               plain(ec, "ec -in clear -conv_form compressed -out key"),
		"rsa -traditional DER":        plain(rsa, "rsa -in clear -traditional -outform DER -out key"),
		"pkcs8 -nocrypt DER":          plain(rsa, "pkcs8 -topk8 -nocrypt -in clear -outform DER -out key"),
		"genpkey RSA-3072 -aes256":    enc("genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -aes256 -pass env:PASS -out key"),
		"genpkey RSA-4096 -aes256":    enc("genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -aes256 -pass env:PASS -out key"),
		"genpkey P-384 -aes256":       enc("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -aes256 -pass env:PASS -out key"),
		"genpkey P-521 -aes256":       enc("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -aes256 -pass env:PASS -out key"),
		"pkcs8 default":               enc(rsa, "pkcs8 -topk8 -in clear -passout env:PASS -out key"),
		"pkcs8 DER":                   enc(rsa, "pkcs8 -topk8 -in clear -outform DER -passout env:PASS -out key"),
		"pkcs8 -scrypt":               enc(ec, "pkcs8 -topk8 -scrypt -in clear -passout env:PASS -out key"),
		"pkcs8 -v2 aes128":            enc(ec, "pkcs8 -topk8 -v2 aes128 -in clear -passout env:PASS -out key"),
		"pkcs8 -v2 aes-192-cbc":       enc(ec, "pkcs8 -topk8 -v2 aes-192-cbc -in clear -passout env:PASS -out key"),
		"pkcs8 -v2 des3":              enc(ec, "pkcs8 -topk8 -v2 des3 -in clear -passout env:PASS -out key"),
		"pkcs8 -v2prf hmacWithSHA1":   enc(ec, "pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA1 -in clear -passout env:PASS -out key"),
		"pkcs8 -v2prf hmacWithSHA512": enc(ec, "pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA512 -in clear -passout env:PASS -out key"),
		"pkcs8 -iter 100000":          enc(ec, "pkcs8 -topk8 -iter 100000 -in clear -passout env:PASS -out key"),
		"pkcs12 export, Bag Attributes": enc(rsa, "req -x509 -new -key clear -subj /CN=x -out cert",
			"pkcs12 -export -in cert -inkey clear -passout env:PASS -out p12", "pkcs12 -in p12 -passin env:PASS -passout env:PASS -out key"),
	}
}

func (f form) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, command := range f.commands {
		openssl(t, dir, strings.Fields(command)...)
	}
	path := filepath.Join(dir, "key")
	check(t, os.Chmod(path, 0o600))
	return path
}

// publicOf returns the public key that openssl reads from the key file.
func publicOf(t *testing.T, path string) crypto.PublicKey {
	t.Helper()
	return publicBy(t, openssl, path)
}

func publicBy(t *testing.T, openssl func(t testing.TB, dir string, args ...string) string, path string) crypto.PublicKey {
	t.Helper()
	args := []string{"pkey", "-in", path, "-passin", "env:PASS", "-pubout"}
	if strings.Contains(t.Name(), "compressed") {
		args = append(args, "-ec_conv_form", "uncompressed") // crypto/x509 reads no other form
	}
	block, _ := pem.Decode([]byte(openssl(t, filepath.Dir(path), args...)))
	if key, err := mldsa.ParsePKIXPublicKey(block.Bytes); key != nil || err != nil {
		check(t, err)
		return key
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	check(t, err)
	return public
}

func TestKeysThatOpenSSLMakes(t *testing.T) {
	for name, f := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := f.write(t)
			key, err := open(path, secret(passphrase))
			check(t, err)
			defer key.Close()
			want := publicOf(t, path)
			if !want.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public.Public()) {
				t.Fatal("another key came out")
			}
			verifiedByOpenSSL(t, path, key)
			_, err = open(path, nil)
			if f.encrypted != errors.Is(err, keystore.ErrPassphraseNeeded) {
				t.Errorf("without a passphrase: %v", err)
			}
			if !f.encrypted {
				return
			}
			if _, err = open(path, secret("not "+passphrase)); !errors.Is(err, keystore.ErrWrongPassphrase) || strings.Contains(err.Error(), passphrase) {
				t.Errorf("wrong passphrase: %v", err)
			}
		})
	}
}

func verifiedByOpenSSL(t *testing.T, path string, key *keystore.Key) {
	t.Helper()
	dir := filepath.Dir(path)
	content := []byte("content")
	digest := sha256.Sum256(content)
	sigs, err := key.Sign(context.Background(), ima.ContentSignature(), ima.SHA256, [][]byte{digest[:]})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "content"), content, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "sig"), sigs[0], 0o600))
	openssl(t, dir, "dgst", "-sha256", "-prverify", "key", "-passin", "env:PASS", "-signature", "sig", "content")
}

// TestSuggestedConversions runs the commands that errors suggest.
func TestSuggestedConversions(t *testing.T) {
	ec := "ecparam -name prime256v1 -genkey -noout -out clear"
	for name, c := range map[string]struct {
		form form
		is   error
		says string
	}{
		"PBES1": {form{[]string{ec, "pkcs8 -topk8 -v1 PBE-MD5-DES -provider legacy -provider default -in clear -passout env:PASS -out key"}, true},
			keystore.ErrUnsupportedKey, "PBES1"},
		"PKCS #12 PBE": {form{[]string{ec, "pkcs8 -topk8 -v1 PBE-SHA1-3DES -in clear -passout env:PASS -out key"}, true},
			keystore.ErrUnsupportedKey, "PBES1"},
		"PBES2 with ARIA": {form{[]string{ec, "pkcs8 -topk8 -v2 aria256 -in clear -passout env:PASS -out key"}, true},
			keystore.ErrUnsupportedKey, "cipher"},
		"PEM with CAMELLIA": {form{[]string{"genrsa -camellia256 -traditional -passout env:PASS -out key 2048"}, true},
			keystore.ErrUnsupportedKey, "CAMELLIA-256-CBC"},
		"curve written out": {form{[]string{ec, "ec -in clear -param_enc explicit -out key"}, false},
			keystore.ErrUnsupportedKey, "curve"},
		"PKCS #12": {form{[]string{ec, "req -x509 -new -key clear -subj /CN=x -out cert", "pkcs12 -export -in cert -inkey clear -passout env:PASS -out key"}, true},
			keystore.ErrNotAKey, "PKCS #12"},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.form.write(t)
			_, err := open(path, secret(passphrase))
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v", err)
			}
			_, command, found := strings.Cut(err.Error(), "to convert it: openssl ")
			if !found {
				t.Fatalf("%v suggests nothing", err)
			}
			args := strings.Fields(command)
			// openssl would ask for the passphrases.
			args = append(args, "-passin", "env:PASS")
			if args[0] != "ec" {
				args = append(args, "-passout", "env:PASS")
			}
			dir := filepath.Dir(path)
			openssl(t, dir, args...)
			key, err := open(filepath.Join(dir, "new.key"), secret(passphrase))
			check(t, err)
			check(t, key.Close())
		})
	}
}

func TestKeysOfOtherKinds(t *testing.T) {
	ec := "ecparam -name prime256v1 -genkey -noout -out clear"
	for name, c := range map[string]struct {
		commands []string
		is       error
		says     string
	}{
		"RSA-1024":        {[]string{"genrsa -out key 1024"}, ima.ErrWeakKey, "rsa1024"},
		"RSA-1024 PKCS#1": {[]string{"genrsa -traditional -out key 1024"}, ima.ErrWeakKey, "rsa1024"},
		"RSA-512":         {[]string{"genrsa -out key 512"}, ima.ErrWeakKey, "rsa512"},
		"RSA-4104":        {[]string{"genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:4104 -out key"}, ima.ErrUnsupportedKey, "rsa4104"},
		"RSA-PSS":         {[]string{"genpkey -quiet -algorithm RSA-PSS -out key"}, ima.ErrUnsupportedKey, "RSASSA-PSS"},
		"P-224":           {[]string{"ecparam -name secp224r1 -genkey -out key"}, ima.ErrUnsupportedKey, "P-224"},
		"secp256k1":       {[]string{"ecparam -name secp256k1 -genkey -noout -out key"}, ima.ErrUnsupportedKey, "secp256k1"},
		"secp256k1 PKCS#8, encrypted": {[]string{"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -aes256 -pass env:PASS -out key"},
			ima.ErrUnsupportedKey, "secp256k1"},
		"Brainpool":       {[]string{"ecparam -name brainpoolP256r1 -genkey -noout -out key"}, ima.ErrUnsupportedKey, "Brainpool"},
		"Ed25519":         {[]string{"genpkey -algorithm ED25519 -out key"}, ima.ErrUnsupportedKey, "Ed25519"},
		"Ed448":           {[]string{"genpkey -algorithm ED448 -out key"}, ima.ErrUnsupportedKey, "Ed448"},
		"DSA":             {[]string{"dsaparam -genkey -out key 1024"}, ima.ErrUnsupportedKey, "DSA"},
		"public key":      {[]string{ec, "ec -in clear -pubout -out key"}, keystore.ErrNotAKey, "public key"},
		"public key DER":  {[]string{ec, "ec -in clear -pubout -outform DER -out key"}, keystore.ErrNotAKey, "public key"},
		"certificate":     {[]string{ec, "req -x509 -new -key clear -subj /CN=x -out key"}, keystore.ErrNotAKey, "certificate"},
		"certificate DER": {[]string{ec, "req -x509 -new -key clear -subj /CN=x -outform DER -out key"}, keystore.ErrNotAKey, "certificate"},
		"request":         {[]string{ec, "req -new -key clear -subj /CN=x -out key"}, keystore.ErrNotAKey, "request"},
		"parameters":      {[]string{"ecparam -name prime256v1 -out key"}, keystore.ErrNotAKey, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := form{commands: c.commands}.write(t)
			_, err := open(path, secret(passphrase))
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestKeyWithItsCertificate(t *testing.T) {
	dir := t.TempDir()
	openssl(t, dir, strings.Fields("req -x509 -newkey rsa:2048 -nodes -keyout one -out two -subj /CN=both")...)
	one, err := os.ReadFile(filepath.Join(dir, "one"))
	check(t, err)
	two, err := os.ReadFile(filepath.Join(dir, "two"))
	check(t, err)
	path := filepath.Join(dir, "both.pem")
	check(t, os.WriteFile(path, append(one, two...), 0o600))
	key, err := open(path, nil)
	check(t, err)
	defer key.Close()
	skid := strings.ToLower(strings.ReplaceAll(openssl(t, dir, "x509", "-in", "two", "-noout", "-ext", "subjectKeyIdentifier"), ":", ""))
	if id := key.Public.ID().String(); !strings.HasSuffix(strings.TrimSpace(skid), id) || key.Public.Certificate() == nil {
		t.Errorf("key id %s, %s", id, skid)
	}
}
