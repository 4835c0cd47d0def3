package certs_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/ima"
)

// weakModulus has the size of a key's modulus, but is not a product of two primes.
func weakModulus(bits int) *big.Int {
	return new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
}

func named(name string) certs.Request {
	return certs.Request{Subject: pkix.Name{CommonName: name}}
}

func TestCreate(t *testing.T) {
	caKey, key := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	start := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	ca, err := certs.NewCA(caKey, certs.Request{Subject: pkix.Name{CommonName: "CA", Organization: []string{"Acme"}}, NotBefore: start, Days: 10})
	check(t, err)
	if !ca.NotBefore.Equal(start.Truncate(time.Second)) || !ca.NotAfter.Equal(ca.NotBefore.AddDate(0, 0, 10)) {
		t.Errorf("valid %v to %v", ca.NotBefore, ca.NotAfter)
	}
	if !ca.IsCA || !ca.BasicConstraintsValid || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || ca.Subject.String() != "CN=CA,O=Acme" {
		t.Errorf("CA %v usage %b of %s", ca.IsCA, ca.KeyUsage, ca.Subject)
	}
	leaf, err := certs.Issuer{Certificate: ca, Key: caKey}.Signer(key.Public(), named("IMA"))
	check(t, err)
	check(t, leaf.CheckSignatureFrom(ca))
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("leaf: CA %v usage %b", leaf.IsCA, leaf.KeyUsage)
	}
	if string(leaf.AuthorityKeyId) != string(ca.SubjectKeyId) || len(ca.SubjectKeyId) != 20 {
		t.Errorf("AKID %x, SKID of the CA %x", leaf.AuthorityKeyId, ca.SubjectKeyId)
	}
	fromCert, err := ima.KeyIDFromCertificate(leaf)
	check(t, err)
	fromKey, err := ima.BareKey(key.Public())
	check(t, err)
	if fromCert != fromKey.ID() {
		t.Errorf("key id %s with the certificate, %s without", fromCert, fromKey.ID())
	}
	if n := leaf.SerialNumber; n.Sign() <= 0 || n.BitLen() > 128 || n.Cmp(ca.SerialNumber) == 0 {
		t.Errorf("serial %v", n)
	}
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got != certs.DefaultDays*24*time.Hour {
		t.Errorf("valid for %v", got)
	}
	for _, e := range leaf.Extensions {
		if id := e.Id.String(); (id == "2.5.29.15" || id == "2.5.29.19") && !e.Critical {
			t.Errorf("%s is not critical", id)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	caKey, key := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	ca, err := certs.NewCA(caKey, named("CA"))
	check(t, err)
	issuer := certs.Issuer{Certificate: ca, Key: caKey}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	for name, refused := range map[string]func() error{
		"no name":       func() error { _, err := certs.NewCA(key, certs.Request{}); return err },
		"Ed25519":       func() error { _, err := certs.NewCA(ed, named("CA")); return err },
		"P-224":         func() error { _, err := issuer.Signer(ecKey(t, elliptic.P224()).Public(), named("x")); return err },
		"the CA's name": func() error { _, err := issuer.Signer(key.Public(), named("CA")); return err },
		"negative days": func() error {
			_, err := issuer.Signer(key.Public(), certs.Request{Subject: pkix.Name{CommonName: "x"}, Days: -1})
			return err
		},
		"beyond the year 9999": func() error {
			_, err := issuer.Signer(key.Public(), certs.Request{Subject: pkix.Name{CommonName: "x"}, Days: 366 * 7999})
			return err
		},
		"before 1970": func() error {
			_, err := issuer.Signer(key.Public(), certs.Request{Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Unix(-1, 0)})
			return err
		},
	} {
		if err := refused(); !errors.Is(err, certs.ErrOption) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := (certs.Issuer{Certificate: ca, Key: key}).Signer(key.Public(), named("x")); err == nil {
		t.Error("another key signed in the CA's name")
	}
}

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]string{
		"Acme GmbH":                   "CN=Acme GmbH,O=Acme GmbH",
		"/CN=Router":                  "CN=Router",
		"/C=DE/ST=BW/L=Ulm/O=A/OU=B":  "",
		"/C=DE/O=A/OU=B/CN=x":         "CN=x,OU=B,O=A,C=DE",
		`/O=A\/B/CN=a=b`:              "CN=a=b,O=A/B",
		"Gerät":                       "CN=Gerät,O=Gerät",
		"":                            "",
		"/":                           "",
		"/CN=":                        "",
		"/CN=a/CN=b":                  "",
		"/X=1/CN=a":                   "",
		"/C=DEU/CN=a":                 "",
		"two\nlines":                  "",
		"\xff":                        "",
		"/CN=" + string(rep('x', 65)): "",
	} {
		got, err := certs.ParseSubject(text)
		switch {
		case want == "" && !errors.Is(err, certs.ErrOption):
			t.Errorf("%q: got %v, %v", text, got, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%q: got %v, %v, want %s", text, got, err, want)
		}
	}
}

func rep(c byte, n int) []byte { return []byte(strings.Repeat(string(c), n)) }

func TestGenerateKeyMakesEachAlgorithm(t *testing.T) {
	for _, algorithm := range certs.Algorithms() {
		key, err := certs.GenerateKey(algorithm)
		check(t, err)
		public, err := ima.BareKey(key.Public())
		check(t, err)
		if public.Algorithm() != algorithm {
			t.Errorf("%s: %s", algorithm, public.Algorithm())
		}
	}
	key, err := certs.GenerateKey("rsa1024")
	if !errors.Is(err, certs.ErrOption) || !reflect.ValueOf(&key).Elem().IsNil() {
		t.Errorf("got %v, %v", key, err)
	}
}
