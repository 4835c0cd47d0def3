package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/kernel"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rsaKey is made once, because that takes most of a second.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	check(t, err)
	return key
}

// selfSigned returns a self-signed certificate. shape, which may be nil, changes the template.
func selfSigned(t testing.TB, key crypto.Signer, shape func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	return signed(t, key.Public(), key, nil, shape)
}

func signed(t testing.TB, public crypto.PublicKey, key crypto.Signer, parent *x509.Certificate, shape func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}
	if shape != nil {
		shape(template)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

func armor(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func TestParse(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	a, b := selfSigned(t, key, nil), selfSigned(t, key, nil)
	pemA, pemB := armor("CERTIFICATE", a.Raw), armor("X509 CERTIFICATE", b.Raw)
	keyPEM := armor("PRIVATE KEY", []byte{0x30, 0})
	for name, c := range map[string]struct {
		data []byte
		want []*x509.Certificate
	}{
		"PEM":                  {pemA, []*x509.Certificate{a}},
		"several":              {bytes.Join([][]byte{pemA, []byte("text\n"), pemB, pemA}, nil), []*x509.Certificate{a, b, a}},
		"a key in front":       {append(bytes.Clone(keyPEM), pemA...), []*x509.Certificate{a}},
		"BOM and CRLF":         {[]byte("\xef\xbb\xbf" + strings.ReplaceAll(string(pemA), "\n", "\r\n")), []*x509.Certificate{a}},
		"DER":                  {a.Raw, []*x509.Certificate{a}},
		"several DER":          {append(bytes.Clone(a.Raw), b.Raw...), []*x509.Certificate{a, b}},
		"openssl x509 -text's": {append([]byte("Certificate:\n    Data:\n"), pemA...), []*x509.Certificate{a}},
	} {
		path := filepath.Join(t.TempDir(), "cert")
		check(t, os.WriteFile(path, c.data, 0o644))
		got, err := certs.Read(t.Context(), path)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
			continue
		}
		for i := range got {
			if !got[i].Equal(c.want[i]) {
				t.Errorf("%s: certificate %d is another", name, i)
			}
		}
	}
}

// brainpool is a certificate by OpenSSL with a key on brainpoolP256r1.
const brainpool = `-----BEGIN CERTIFICATE-----
MIIBbzCCARagAwIBAgIUVwi1/2pkjQEgqca1yIs7RCVtwqgwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCYnAwHhcNMjYxMTI1MDM1MDIyWhcNMjYxMjI1MDM1MDIyWjAN
MQswCQYDVQQDDAJicDBaMBQGByqGSM49AgEGCSskAwMCCAEBBwNCAAQWOHh7Ii3C
ZWVTKyJtG3ZEzaRXle29lM++r4Wiw8Gu8YVKxRW/K8KAq8H+HO+ZJORvKSG9dnxi
h2ZjiNA3VnJao1MwUTAdBgNVHQ4EFgQU+gLtXuVHXcnHLUt23vEVAvUbq8AwHwYD
VR0jBBgwFoAU+gLtXuVHXcnHLUt23vEVAvUbq8AwDwYDVR0TAQH/BAUwAwEB/zAK
BggqhkjOPQQDAgNHADBEAiA/Xeb5Qpwiju0u9lVZacFcTGgCz5Ign3yLBaRQBNmX
ygIge7ZSyKAEW2D6ZtmNaihVleVeX2y9DN6657YQ1Vfyi9w=
-----END CERTIFICATE-----
`

func TestReadRefuses(t *testing.T) {
	cert := selfSigned(t, ecKey(t, elliptic.P256()), nil)
	whole := armor("CERTIFICATE", cert.Raw)
	der, _ := pem.Decode([]byte(brainpool))
	for name, c := range map[string]struct {
		data []byte
		is   error
		says string
	}{
		"empty":          {[]byte("\n"), certs.ErrNoCertificate, "empty"},
		"too large":      {bytes.Repeat([]byte{0x30}, 1<<20+1), certs.ErrTooLarge, "1048576"},
		"text":           {[]byte("hello"), certs.ErrNoCertificate, "neither PEM nor DER"},
		"other DER":      {[]byte{0x30, 3, 2, 1, 5}, certs.ErrNoCertificate, "something else"},
		"cut DER":        {cert.Raw[:100], certs.ErrNoCertificate, "damaged"},
		"cut PEM":        {whole[:100], nil, "certificate 1 is damaged or cut off"},
		"second is cut":  {append(bytes.Clone(whole), whole[:100]...), nil, "certificate 2 is damaged"},
		"damaged inside": {armor("CERTIFICATE", cert.Raw[:100]), nil, "certificate 1 is damaged"},
		"private key":    {armor("PRIVATE KEY", []byte{1}), certs.ErrNoCertificate, "private key"},
		"public key":     {armor("PUBLIC KEY", []byte{1}), certs.ErrNoCertificate, "public key"},
		"request":        {armor("CERTIFICATE REQUEST", []byte{1}), certs.ErrNoCertificate, "has yet to sign"},
		"trusted":        {armor("TRUSTED CERTIFICATE", []byte{1}), certs.ErrNoCertificate, "openssl x509"},
		"PKCS #7":        {armor("PKCS7", []byte{1}), certs.ErrNoCertificate, "openssl pkcs7"},
		"other curve":    {[]byte(brainpool), certs.ErrCurve, "certificate 1"},
		"its DER":        {der.Bytes, certs.ErrCurve, "another curve"},
		"other PEM":      {armor("X509 CRL", []byte{1}), certs.ErrNoCertificate, `"X509 CRL"`},
	} {
		path := filepath.Join(t.TempDir(), "cert.pem")
		check(t, os.WriteFile(path, c.data, 0o644))
		_, err := certs.Read(t.Context(), path)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %v with %q", name, err, c.is, c.says)
		}
	}
	if _, err := certs.Read(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
	if _, err := certs.Read(t.Context(), "/nowhere.crt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	cert := selfSigned(f, ecKey(f, elliptic.P256()), func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3, 4} })
	f.Add(cert.Raw)
	f.Add(append(bytes.Clone(cert.Raw), cert.Raw...))
	f.Add(armor("CERTIFICATE", cert.Raw))
	f.Add(armor("TRUSTED CERTIFICATE", cert.Raw))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := certs.Parse(data)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d certificates and %v", len(list), err)
		}
		for _, c := range list {
			certs.Check(c, list, kernel.Version{Major: 6, Minor: 1})
			certs.CheckCA(c, list, kernel.Version{})
		}
		certs.CheckShared(list)
	})
}
