package openssl

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/tests/harness"
)

// must35 is openssl of OpenSSL 3.5, which has ML-DSA.
func must35(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := harness.OpenSSL35(t, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "PASS="+passphrase)
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatalf("openssl %s: exit %d\n%s%s", strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r.Out
}

// algorithms are those to make keys of.
func algorithms() []string {
	if harness.Nightly() {
		return certs.Algorithms()
	}
	return []string{"rsa2048", "p256", "p384", "mldsa65"}
}

// TestMLDSAKeysThatOpenSSLMakes opens keys in the three forms of RFC 9881, by the names of
// OpenSSL's option, encrypted and not, and has OpenSSL verify a signature.
func TestMLDSAKeysThatOpenSSLMakes(t *testing.T) {
	for _, form := range []string{"seed-priv", "priv-only", "seed-only"} {
		for _, name := range []string{"65", "44", "87"} {
			t.Run(name+" "+form, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				must35(t, dir, strings.Fields("genpkey -algorithm ML-DSA-"+name+" -provparam ml-dsa.output_formats="+form+" -out key")...)
				key := opened(t, dir, "key")
				verifiedByOpenSSL35(t, dir, "key", key)
				same := func(name string) {
					if opened(t, dir, name).Public.ID() != key.Public.ID() {
						t.Error("another key")
					}
				}
				must35(t, dir, strings.Fields("pkcs8 -topk8 -in key -v2 aes-256-cbc -passout env:PASS -provparam ml-dsa.output_formats="+form+" -out encrypted")...)
				same("encrypted")
				must35(t, dir, strings.Fields("pkey -in key -outform DER -provparam ml-dsa.output_formats="+form+" -out der")...)
				same("der")
			})
			if !harness.Nightly() {
				break
			}
		}
	}
	dir := t.TempDir()
	must35(t, dir, strings.Fields("genpkey -algorithm ML-DSA-87 -aes-256-cbc -pass env:PASS -out key")...)
	opened(t, dir, "key")
	for _, form := range []string{"bare-seed", "bare-priv", "oqskeypair"} { // of drafts of the RFC
		must35(t, dir, strings.Fields("genpkey -algorithm ML-DSA-44 -provparam ml-dsa.output_formats="+form+" -out "+form)...)
		check(t, os.Chmod(filepath.Join(dir, form), 0o600))
		if _, err := open(filepath.Join(dir, form), nil); !errors.Is(err, keystore.ErrNotAKey) {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func opened(t *testing.T, dir, name string) *keystore.Key {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.Chmod(path, 0o600))
	key, err := open(path, secret(passphrase))
	check(t, err)
	t.Cleanup(func() { check(t, key.Close()) })
	return key
}

// verifiedByOpenSSL35 has OpenSSL verify the signature of a file_id. It must also make the
// same signature itself.
func verifiedByOpenSSL35(t *testing.T, dir, path string, key ima.Signer) {
	t.Helper()
	message := append([]byte{3, 4}, bytes.Repeat([]byte{7}, 32)...)
	signatures, err := key.Sign(context.Background(), ima.ContentSignature().V3(), ima.SHA256, [][]byte{message[2:]})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "message"), message, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "sig"), signatures[0], 0o600))
	must35(t, dir, strings.Fields("pkeyutl -verify -inkey "+path+" -passin env:PASS -rawin -in message -sigfile sig")...)
	must35(t, dir, strings.Fields("pkeyutl -sign -inkey "+path+" -passin env:PASS -rawin -in message -pkeyopt deterministic:1 -out theirs")...)
	theirs, err := os.ReadFile(filepath.Join(dir, "theirs"))
	check(t, err)
	if !bytes.Equal(theirs, signatures[0]) {
		t.Error("OpenSSL makes another signature")
	}
}

// TestMLDSAKeysForOpenSSL has OpenSSL read keys that Init makes and verify their certificates
// and requests, in mixes of CA and leaf.
func TestMLDSAKeysForOpenSSL(t *testing.T) {
	chains := [][2]string{{"rsa2048", "mldsa65"}, {"mldsa44", "p256"}, {"mldsa87", "mldsa44"}}
	if harness.Nightly() {
		chains = append(chains, [][2]string{{"mldsa44", "mldsa65"}, {"mldsa65", "mldsa87"}, {"p384", "mldsa44"}, {"mldsa65", "rsa2048"}}...)
	}
	for _, c := range chains {
		t.Run(c[0]+" over "+c[1], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			options := certs.InitOptions{CAAlgorithm: c[0], Algorithm: c[1]}
			if c[1] == "mldsa44" {
				options.Encrypt = func(ctx context.Context, der []byte) ([]byte, error) {
					return file.Encrypt(ctx, der, []byte(passphrase))
				}
			}
			pairs, err := certs.Init(t.Context(), dir, options)
			check(t, err)
			for _, p := range pairs {
				must35(t, dir, strings.Fields("verify -CAfile system_trusted_key.crt "+p.Name+".crt")...)
				public := must35(t, dir, strings.Fields("pkey -passin env:PASS -pubout -in "+p.Name+".key")...)
				if public != must35(t, dir, strings.Fields("x509 -noout -pubkey -in "+p.Name+".crt")...) {
					t.Errorf("%s: another key", p.Name)
				}
			}
			if strings.HasPrefix(c[1], "mldsa") {
				key := opened(t, dir, "x509_ima.key")
				verifiedByOpenSSL35(t, dir, "x509_ima.key", key)
				requested(t, dir, key, pairs[0].Certificate)
			}
		})
	}
}

// requested has OpenSSL verify a request for the key, and issue a certificate from it.
func requested(t *testing.T, dir string, key *keystore.Key, ca *x509.Certificate) {
	t.Helper()
	der, err := certs.NewRequest(key.CryptoSigner(t.Context()), certs.Request{Subject: pkix.Name{CommonName: "requested"}}, nil)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "csr"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600))
	must35(t, dir, strings.Fields("req -verify -noout -in csr")...)
	must35(t, dir, strings.Fields("x509 -req -in csr -CA system_trusted_key.crt -CAkey system_trusted_key.key -passin env:PASS -copy_extensions copyall -days 1000 -out issued.crt")...)
	acceptable(t, dir, "issued.crt", ca)
}

// acceptable checks a certificate that OpenSSL made for an ML-DSA key.
func acceptable(t *testing.T, dir, name string, ca *x509.Certificate) {
	t.Helper()
	list, err := certs.Read(t.Context(), filepath.Join(dir, name))
	check(t, err)
	check(t, mldsa.CheckSignature(list[0], ca))
	for _, f := range certs.Check(list[0], []*x509.Certificate{ca}, kernel.Version{}) {
		if f.Severity != finding.Note {
			t.Errorf("%s: %v", name, f)
		}
	}
	if key, err := ima.CertificateKey(list[0]); err != nil || key.Purpose() != ima.ForV3 {
		t.Errorf("%s: %v", name, err)
	}
}

// TestMLDSAChainsOfOpenSSL reads and verifies certificates and requests that OpenSSL makes.
func TestMLDSAChainsOfOpenSSL(t *testing.T) {
	dir := t.TempDir()
	must35(t, dir, strings.Fields("req -x509 -newkey ML-DSA-87 -noenc -keyout ca.key -out ca.crt -days 1000 -subj /CN=CA")...)
	list, err := certs.Read(t.Context(), filepath.Join(dir, "ca.crt"))
	check(t, err)
	check(t, mldsa.CheckSignature(list[0], list[0]))
	if findings := certs.CheckCA(list[0], nil, kernel.Version{}); finding.Refused(findings) {
		t.Error(findings)
	}
	must35(t, dir, strings.Fields("req -new -newkey ML-DSA-65 -noenc -keyout key -out csr -subj /CN=leaf -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=2.25.322073434.1.3")...)
	data, err := os.ReadFile(filepath.Join(dir, "csr"))
	check(t, err)
	block, _ := pem.Decode(data)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	check(t, err)
	check(t, mldsa.CheckRequestSignature(request))
	must35(t, dir, strings.Fields("x509 -req -in csr -CA ca.crt -CAkey ca.key -copy_extensions copyall -days 1000 -out leaf.crt")...)
	acceptable(t, dir, "leaf.crt", list[0])
}
