package ima_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// rsaKey returns the same key every time, because generating one takes most of a second.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecdsaKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	check(t, err)
	return key
}

// certificate returns a self-signed certificate with the given subject key identifier.
func certificate(t testing.TB, key crypto.Signer, skid []byte) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		SubjectKeyId: skid, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

func certificateKey(t testing.TB, key crypto.Signer, skid ...byte) *ima.PublicKey {
	t.Helper()
	pub, err := ima.CertificateKey(certificate(t, key, skid))
	check(t, err)
	return pub
}

// rawSigner returns a Signer that signs with key.
func rawSigner(t testing.TB, key crypto.Signer) ima.Signer {
	t.Helper()
	pub, err := ima.BareKey(key.Public())
	check(t, err)
	return ima.FromRaw(ima.CryptoSigner(key), pub)
}

func sum(id ima.HashID, content string) []byte {
	h, ok := id.CryptoHash()
	if !ok {
		panic(id.String() + " cannot be computed")
	}
	d := h.New()
	d.Write([]byte(content))
	return d.Sum(nil)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that err wraps want and no other refusal.
func refused(t testing.TB, err error, want ima.Refusal) {
	t.Helper()
	if !errors.Is(err, want) || ima.Reason(err) != string(want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// verify checks a signature of content. The digest is of the value's hash.
func verify(ring *ima.Keyring, value, digest []byte) error {
	return verifyAs(ring, ima.ContentSignature(), value, digest)
}

func verifyAs(ring *ima.Keyring, f ima.Form, value, digest []byte) error {
	v, _ := ima.Parse(value) // Verify returns the same error
	_, err := ring.Verify(value, ima.Statement{Form: f, Hash: v.Hash, Digest: digest})
	return err
}
