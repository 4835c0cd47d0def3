package openssl

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/pkg/keystore/file"
)

func keySet(t *testing.T, o certs.InitOptions) (string, []certs.KeyPair) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	pairs, err := certs.Init(context.Background(), dir, o)
	check(t, err)
	return dir, pairs
}

// opensslFor returns the openssl that has an algorithm.
func opensslFor(algorithm string) func(t testing.TB, dir string, args ...string) string {
	if strings.HasPrefix(algorithm, "mldsa") {
		return must35
	}
	return openssl
}

func TestCertificatesThatOpenSSLTakes(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			openssl := opensslFor(algorithm)
			subject, err := certs.ParseSubject("/C=DE/O=Acme GmbH/CN=Gerät 7")
			check(t, err)
			dir, pairs := keySet(t, certs.InitOptions{Algorithm: algorithm, With: certs.Extras(), Subject: subject, Days: 30})
			for _, p := range pairs {
				openssl(t, dir, "verify", "-x509_strict", "-CAfile", "system_trusted_key.crt", p.PEM)
				text := openssl(t, dir, "x509", "-in", p.PEM, "-noout", "-text", "-nameopt", "utf8")
				demand(t, p.Name, text, p.Certificate.IsCA)
				ofKey := openssl(t, dir, "pkey", "-in", p.Key, "-pubout")
				if ofCert := openssl(t, dir, "x509", "-in", p.PEM, "-noout", "-pubkey"); ofCert != ofKey {
					t.Errorf("%s: key and certificate do not belong together", p.Name)
				}
				openssl(t, dir, "pkey", "-in", p.Key, "-check", "-noout")
				if p.DER != "" {
					pem := openssl(t, dir, "x509", "-in", p.DER, "-inform", "DER")
					if data, err := os.ReadFile(p.PEM); err != nil || string(data) != pem {
						t.Errorf("%s: DER and PEM differ: %v", p.Name, err)
					}
				}
			}
		})
	}
}

// demand looks for extensions the way openssl prints them.
func demand(t *testing.T, name, text string, ca bool) {
	t.Helper()
	want := []string{
		"X509v3 Key Usage: critical\n                Digital Signature\n", "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
		"X509v3 Subject Key Identifier", "X509v3 Authority Key Identifier", "O=Acme GmbH", "Gerät 7 ", "Version: 3",
	}
	if ca {
		want[0] = "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n"
		want[1] = "X509v3 Basic Constraints: critical\n                CA:TRUE\n"
	}
	if name == "system_trusted_key" {
		want[3] = "" // a self-signed certificate needs none
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", name, part, text)
		}
	}
}

// TestSubjectKeyIDIsThatOfOpenSSL: "hash" is SHA-1 of the key bits there.
func TestSubjectKeyIDIsThatOfOpenSSL(t *testing.T) {
	dir, pairs := keySet(t, certs.InitOptions{Algorithm: "p256"})
	openssl(t, dir, "req", "-x509", "-new", "-key", pairs[1].Key, "-subj", "/CN=x", "-out", "own.crt")
	own, err := certs.Read(t.Context(), filepath.Join(dir, "own.crt"))
	check(t, err)
	if string(own[0].SubjectKeyId) != string(pairs[1].Certificate.SubjectKeyId) {
		t.Errorf("%x, openssl has %x", pairs[1].Certificate.SubjectKeyId, own[0].SubjectKeyId)
	}
}

// TestEncryptedKeysOpenInBoth checks keys of every algorithm that this program encrypted.
func TestEncryptedKeysOpenInBoth(t *testing.T) {
	encrypt := func(ctx context.Context, der []byte) ([]byte, error) {
		return file.Encrypt(ctx, der, []byte(passphrase))
	}
	for _, algorithm := range algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			openssl := opensslFor(algorithm)
			dir, pairs := keySet(t, certs.InitOptions{Algorithm: algorithm, Encrypt: encrypt, OnlyCA: true})
			for _, p := range pairs {
				openssl(t, dir, "pkey", "-in", p.Key, "-passin", "env:PASS", "-check", "-noout")
				if public := publicBy(t, openssl, p.Key); !public.(interface{ Equal(crypto.PublicKey) bool }).Equal(p.Certificate.PublicKey) {
					t.Errorf("openssl finds another key in %s", p.Key)
				}
				if r := run(t, dir, "pkey", "-in", p.Key, "-passin", "env:WRONG", "-noout"); r.Code == 0 {
					t.Error("openssl opens it with a wrong passphrase")
				}
				key, err := open(p.Key, secret(passphrase))
				check(t, err)
				check(t, key.Close())
				data, err := os.ReadFile(p.Key)
				check(t, err)
				if strings.Contains(string(data), passphrase) || !strings.HasPrefix(string(data), "-----BEGIN ENCRYPTED PRIVATE KEY-----") {
					t.Errorf("%s: %.60q", p.Key, data)
				}
			}
		})
	}
}

// TestEncryptedBytes decrypts a key that this openssl may not know, in the steps of RFC
// 8018: the derivation, then the cipher.
func TestEncryptedBytes(t *testing.T) {
	want := []byte("0\x10\x02\x01\x00 stands for ML-DSA")
	der, err := file.Encrypt(t.Context(), want, []byte(passphrase))
	check(t, err)
	var info struct {
		Algorithm struct {
			OID    asn1.ObjectIdentifier
			Params struct {
				KDF struct {
					OID    asn1.ObjectIdentifier
					Params struct {
						Salt       []byte
						Iterations int
						PRF        pkix.AlgorithmIdentifier
					}
				}
				Cipher struct {
					OID asn1.ObjectIdentifier
					IV  []byte
				}
			}
		}
		Data []byte
	}
	rest, err := asn1.Unmarshal(der, &info)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%v, rest %x", err, rest)
	}
	dir, kdf := t.TempDir(), info.Algorithm.Params.KDF.Params
	check(t, os.WriteFile(filepath.Join(dir, "data"), info.Data, 0o600))
	key := openssl(t, dir, "kdf", "-keylen", "32", "-kdfopt", "digest:SHA256", "-kdfopt", "pass:"+passphrase,
		"-kdfopt", fmt.Sprintf("hexsalt:%x", kdf.Salt), "-kdfopt", fmt.Sprintf("iter:%d", kdf.Iterations), "PBKDF2")
	key = strings.ReplaceAll(strings.TrimSpace(key), ":", "")
	got := openssl(t, dir, "enc", "-d", "-aes-256-cbc", "-in", "data", "-K", key, "-iv", fmt.Sprintf("%x", info.Algorithm.Params.Cipher.IV))
	if got != string(want) || kdf.Iterations < 600_000 || len(kdf.Salt) < 16 {
		t.Errorf("%q after %d iterations", got, kdf.Iterations)
	}
}

// TestCheckOfOpenSSLsCertificates checks certificates that openssl makes. Its default is
// a certificate for the web, which must be refused.
func TestCheckOfOpenSSLsCertificates(t *testing.T) {
	dir, pairs := keySet(t, certs.InitOptions{})
	for name, c := range map[string]struct {
		args    string
		refused bool
	}{
		"by default, self-signed": {"req -x509 -new -key x509_ima.key -subj /CN=x -out test.crt", true},
		"digitalSignature": {"req -x509 -new -key x509_ima.key -subj /CN=x -CA system_trusted_key.crt -CAkey system_trusted_key.key " +
			"-addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature -out test.crt", false},
		"without SKID": {"req -x509 -new -key x509_ima.key -subj /CN=x -CA system_trusted_key.crt -CAkey system_trusted_key.key " +
			"-addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature -addext subjectKeyIdentifier=none -out test.crt", true},
		"signed with PSS": {"req -x509 -new -key x509_ima.key -subj /CN=x -CA system_trusted_key.crt -CAkey system_trusted_key.key " +
			"-addext basicConstraints=critical,CA:FALSE -addext keyUsage=digitalSignature -sigopt rsa_padding_mode:pss -out test.crt", true},
		"key of RSA-PSS": {"req -x509 -newkey rsa-pss -keyout pss.key -nodes -subj /CN=x -out test.crt", true},
	} {
		openssl(t, dir, strings.Fields(c.args)...)
		list, err := certs.Read(t.Context(), filepath.Join(dir, "test.crt"))
		check(t, err)
		findings := certs.Check(list[0], []*x509.Certificate{pairs[0].Certificate}, kernel.Version{Major: 6, Minor: 12})
		if finding.Refused(findings) != c.refused {
			t.Errorf("%s: %v", name, findings)
		}
	}
}
