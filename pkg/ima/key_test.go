package ima_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestKeyIDText(t *testing.T) {
	for text, want := range map[string]ima.KeyID{
		"0bb09fa2": 0x0bb09fa2, "0xDEADBEEF": 0xdeadbeef, "00000000": 0,
	} {
		got, err := ima.ParseKeyID(text)
		if err != nil || got != want {
			t.Errorf("ParseKeyID(%q) = %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "bb09fa2", "0bb09fa2a", "0bb09fag", "+bb09fa2", "0x0x1234", "-0000001", "1234_678"} {
		_, err := ima.ParseKeyID(text)
		refused(t, err, ima.ErrMalformedKeyID)
	}
	if got := ima.KeyID(0xbb09fa2).String(); got != "0bb09fa2" {
		t.Errorf("String gives %q", got)
	}
}

func TestKeyIDs(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	cert := certificateKey(t, key, 1, 2, 3, 0xde, 0xad, 0xbe, 0xef)
	if cert.ID() != 0xdeadbeef || cert.Algorithm() != "p256" || cert.Certificate() == nil || cert.Public() == nil {
		t.Errorf("certificate key is %s %s", cert.Algorithm(), cert.ID())
	}
	bare, err := ima.BareKey(key.Public())
	check(t, err)
	point, err := key.PublicKey.Bytes()
	check(t, err)
	id := sha1.Sum(point)
	if want := ima.KeyID(uint32(id[16])<<24 | uint32(id[17])<<16 | uint32(id[18])<<8 | uint32(id[19])); bare.ID() != want {
		t.Errorf("bare key is %s, want %s", bare.ID(), want)
	}
	if bare.Certificate() != nil {
		t.Error("bare key has a certificate")
	}
	for _, skid := range [][]byte{nil, {1, 2, 3}} {
		_, err := ima.CertificateKey(certificate(t, key, skid))
		refused(t, err, ima.ErrNoSubjectKeyID)
	}
}

func TestKeysRefused(t *testing.T) {
	edPub, ed, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	rsaOf := func(bits uint) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
	}
	p224 := ecdsaKey(t, elliptic.P224())
	for name, tc := range map[string]struct {
		key  crypto.PublicKey
		want ima.Refusal
		text string
	}{
		"rsa1024":       {rsaOf(1024), ima.ErrWeakKey, "rsa1024"},
		"rsa2047":       {rsaOf(2047), ima.ErrWeakKey, "rsa2047"},
		"rsa2560":       {rsaOf(2560), ima.ErrUnsupportedKey, "rsa2560"},
		"rsa8192":       {rsaOf(8192), ima.ErrUnsupportedKey, "rsa8192"},
		"even exponent": {&rsa.PublicKey{N: rsaOf(2048).N, E: 4}, ima.ErrUnsupportedKey, "malformed"},
		"empty rsa":     {&rsa.PublicKey{}, ima.ErrUnsupportedKey, "malformed"},
		"p224":          {p224.Public(), ima.ErrUnsupportedKey, "P-224"},
		"off the curve": {&ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, ima.ErrUnsupportedKey, "malformed"}, //nolint:staticcheck // only so can it be malformed
		"empty ecdsa":   {&ecdsa.PublicKey{}, ima.ErrUnsupportedKey, "curve"},
		"ed25519":       {edPub, ima.ErrUnsupportedKey, "ed25519"},
		"private key":   {ed, ima.ErrUnsupportedKey, "ed25519"},
		"nil":           {nil, ima.ErrUnsupportedKey, "nil"},
	} {
		_, err := ima.BareKey(tc.key)
		refused(t, err, tc.want)
		if err != nil && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %q does not name %q", name, err, tc.text)
		}
	}
	_, err = ima.CertificateKey(certificate(t, ed, []byte{1, 2, 3, 4}))
	refused(t, err, ima.ErrUnsupportedKey)
}

// TestPSSCertificateRefused uses an RSASSA-PSS key, which crypto/x509 does not parse.
func TestPSSCertificateRefused(t *testing.T) {
	rsaEncryption := []byte{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1}
	pss := bytes.Clone(rsaEncryption)
	pss[10] = 10
	der := certificate(t, rsaKey(), []byte{1, 2, 3, 4}).Raw
	cert, err := x509.ParseCertificate(bytes.Replace(der, rsaEncryption, pss, 1))
	check(t, err)
	_, err = ima.CertificateKey(cert)
	refused(t, err, ima.ErrUnsupportedKey)
	if err != nil && !strings.Contains(err.Error(), "RSASSA-PSS") {
		t.Errorf("%q does not name RSASSA-PSS", err)
	}
}

func TestPublicKeyVerify(t *testing.T) {
	pub, err := ima.BareKey(rsaKey().Public())
	check(t, err)
	digest := sum(ima.SHA256, "a")
	sig, err := rsaKey().Sign(nil, digest, crypto.SHA256)
	check(t, err)
	verify := func(h ima.HashID, digest, sig []byte) error {
		return pub.Verify(ima.Statement{Form: ima.ContentSignature(), Hash: h, Digest: digest}, sig)
	}
	check(t, verify(ima.SHA256, digest, sig))
	refused(t, verify(ima.SHA256, sum(ima.SHA256, "b"), sig), ima.ErrDigestMismatch)
	refused(t, verify(ima.SHA3_256, digest, sig), ima.ErrBadSignature) // the digest is SHA-256
	refused(t, verify(ima.SHA3_256, sum(ima.SHA3_256, "b"), sig), ima.ErrBadSignature)
	refused(t, verify(ima.SHA256, digest[1:], sig), ima.ErrDigestSize)
	refused(t, verify(ima.SM3, digest, sig), ima.ErrUnsupportedHash)
	refused(t, verify(200, digest, sig), ima.ErrUnknownHash)
	refused(t, verify(ima.SHA256, digest, sig[1:]), ima.ErrBadSignature)
	refused(t, verify(ima.SHA256, digest, nil), ima.ErrBadSignature)
	refused(t, verify(ima.SHA256, digest, bytes.Repeat([]byte{0xff}, 256)), ima.ErrBadSignature)
	// A second encoding of the same number must not be a second valid signature.
	n := new(big.Int).SetBytes(sig)
	if n.Add(n, rsaKey().N).BitLen() <= 2048 {
		refused(t, verify(ima.SHA256, digest, n.FillBytes(make([]byte, 256))), ima.ErrBadSignature)
	}
}
