package evmctl

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// testKey is a key pair made by openssl, as files and parsed.
type testKey struct {
	name   string
	priv   string // PKCS#8 PEM
	pub    string // SubjectPublicKeyInfo PEM
	pem    string // certificate, PEM
	der    string // certificate, DER, the form evmctl verifies with
	signer ima.Signer
	cert   *ima.PublicKey
	bare   *ima.PublicKey
	public crypto.PublicKey
}

func allKeys() map[string][]string {
	return map[string][]string{
		"rsa2048": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
		"rsa3072": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"},
		"rsa4096": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"},
		"p256":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"p384":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"p521":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"},
	}
}

// newKey makes a key pair and a self-signed certificate. The subject key identifier is
// skid, or the usual SHA-1 if skid is empty.
func newKey(t *testing.T, algorithm, skid string) *testKey {
	t.Helper()
	dir := t.TempDir()
	k := &testKey{
		name: algorithm,
		priv: filepath.Join(dir, "key.pem"), pub: filepath.Join(dir, "pub.pem"),
		pem: filepath.Join(dir, "cert.pem"), der: filepath.Join(dir, "cert.der"),
	}
	openssl(t, append([]string{"genpkey", "-out", k.priv}, allKeys()[algorithm]...)...)
	openssl(t, "pkey", "-in", k.priv, "-pubout", "-out", k.pub)
	openssl(t, "req", "-x509", "-new", "-key", k.priv, "-subj", "/CN=imasign-build test "+algorithm, "-days", "3650",
		"-addext", "subjectKeyIdentifier="+skid, "-addext", "keyUsage=digitalSignature", "-out", k.pem)
	openssl(t, "x509", "-in", k.pem, "-outform", "DER", "-out", k.der)
	k.load(t)
	return k
}

func (k *testKey) load(t *testing.T) {
	t.Helper()
	priv, err := x509.ParsePKCS8PrivateKey(pemBytes(t, k.priv))
	check(t, err)
	cert, err := x509.ParseCertificate(read(t, k.der))
	check(t, err)
	k.public = cert.PublicKey
	k.cert, err = ima.CertificateKey(cert)
	check(t, err)
	k.signer = ima.FromRaw(ima.CryptoSigner(priv.(crypto.Signer)), k.cert)
	k.bare, err = ima.BareKey(cert.PublicKey)
	check(t, err)
}

func (k *testKey) isRSA() bool {
	_, ok := k.public.(*rsa.PublicKey)
	return ok
}

// verify checks a security.ima value against the digest of the content, which was made
// with the hash that the value states.
func verify(ring *ima.Keyring, value, digest []byte) error {
	v, _ := ima.Parse(value) // Verify refuses what Parse refuses
	_, err := ring.Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: v.Hash, Digest: digest})
	return err
}

// verifyEVM checks a security.evm value, portable or not.
func verifyEVM(ring *ima.Keyring, value, digest []byte) error {
	v, err := ima.Parse(value)
	if err == nil {
		_, err = ring.Verify(value, ima.Statement{Form: v.Form(ima.XattrEVM), Hash: v.Hash, Digest: digest})
	}
	return err
}
