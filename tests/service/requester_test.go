package service

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"
)

// identity is a requester's key and client certificate, in a file.
type identity struct {
	file string
	key  ed25519.PrivateKey
}

// public returns the key as the configuration has it.
func (i *identity) public() string {
	return base64.StdEncoding.EncodeToString(i.key.Public().(ed25519.PublicKey))
}

// requester is a requester in the configuration.
func (i *identity) requester(name string) string {
	return fmt.Sprintf("  - {name: %s, key: %s}\n", name, i.public())
}

// identity makes a key, and a client certificate by the CA of the service that is valid until
// then.
func (s *service) identity(until time.Time) *identity {
	s.Helper()
	ca, key := authority(s, s.path("tls"))
	return issue(s, ca, key, until)
}

// later is long after all tests.
func later() time.Time { return time.Now().Add(24 * time.Hour) }

func authority(t testing.TB, dir string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	ca, err := x509.ParseCertificate(block(t, read(t, filepath.Join(dir, "ca.crt"))))
	check(t, err)
	key, err := x509.ParsePKCS8PrivateKey(block(t, read(t, filepath.Join(dir, "ca.key"))))
	check(t, err)
	return ca, key.(crypto.Signer)
}

func block(t testing.TB, text string) []byte {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		t.Fatalf("no PEM: %s", text)
	}
	return b.Bytes
}

func issue(t testing.TB, ca *x509.Certificate, by crypto.Signer, until time.Time) *identity {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	check(t, err)
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "requester"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, public, by)
	check(t, err)
	i := &identity{filepath.Join(t.TempDir(), "identity.pem"), private}
	write(t, i.file, privatePEM(t, private)+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	return i
}

func privatePEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
