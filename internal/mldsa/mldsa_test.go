package mldsa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyForms(t *testing.T) {
	for _, name := range Names() {
		key, err := Generate(name, rand.Reader)
		check(t, err)
		whole, err := key.MarshalPKCS8()
		check(t, err)
		expanded, err := (&PrivateKey{key.key, nil, key.public}).MarshalPKCS8()
		check(t, err)
		seed, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: key.seed})
		check(t, err)
		seedOnly, err := asn1.Marshal(privateKeyInfo{Algorithm: algorithm(name), Key: seed})
		check(t, err)
		signature, err := key.Sign(nil, []byte("message"), nil)
		check(t, err)
		for form, der := range map[string][]byte{"both": whole, "expanded": expanded, "seed": seedOnly} {
			got, err := ParsePKCS8(der)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, form, err)
			}
			again, err := got.Sign(nil, []byte("message"), nil)
			check(t, err)
			if !key.Equal(got) || string(again) != string(signature) {
				t.Errorf("%s, %s: another key", name, form)
			}
			if s := fmt.Sprintf("%v %+v %#v", got, *got, got); strings.Contains(s, "[") {
				t.Errorf("the key prints as %s", s)
			}
		}
		// A changed part of the key is found wherever it is.
		for at := len(whole) - 1; at > 30; at -= 97 {
			for _, der := range [][]byte{whole, expanded} {
				if at >= len(der) {
					continue
				}
				bad := append([]byte(nil), der...)
				bad[at] ^= 1
				if got, err := ParsePKCS8(bad); err == nil && got.Equal(key) {
					t.Errorf("%s: byte %d of %d changed, and not noticed", name, at, len(der))
				}
			}
		}
	}
}

func TestCertificates(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	keys := []crypto.Signer{rsaKey, ecKey}
	for _, name := range Names() {
		key, err := Generate(name, rand.Reader)
		check(t, err)
		keys = append(keys, key)
	}
	for _, caKey := range keys {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().AddDate(1, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1, 2, 3, 4},
		}
		der, err := CreateCertificate(template, template, caKey.Public(), caKey)
		check(t, err)
		ca, err := ParseCertificate(der)
		check(t, err)
		check(t, CheckSignature(ca, ca))
		for _, key := range keys {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().AddDate(1, 0, 0),
				KeyUsage: x509.KeyUsageDigitalSignature, SubjectKeyId: []byte{5, 6, 7, 8},
			}
			der, err := CreateCertificate(template, ca, key.Public(), caKey)
			check(t, err)
			cert, err := ParseCertificate(der)
			check(t, err)
			check(t, CheckSignature(cert, ca))
			if string(cert.AuthorityKeyId) != string(ca.SubjectKeyId) || !cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
				t.Error("another key or issuer")
			}
			changed := append([]byte(nil), der...)
			changed[len(changed)-1] ^= 1
			if cert, err := ParseCertificate(changed); err == nil && CheckSignature(cert, ca) == nil {
				t.Error("a changed signature is valid")
			}
		}
	}
}

func TestRequests(t *testing.T) {
	for _, name := range Names() {
		key, err := Generate(name, rand.Reader)
		check(t, err)
		der, err := CreateCertificateRequest(&x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "signer"}, DNSNames: []string{"example.org"},
		}, key)
		check(t, err)
		request, err := x509.ParseCertificateRequest(der)
		check(t, err)
		check(t, CheckRequestSignature(request))
		if request.Subject.CommonName != "signer" || len(request.DNSNames) != 1 {
			t.Error("the request has lost something")
		}
		der[len(der)-1] ^= 1
		request, err = x509.ParseCertificateRequest(der)
		check(t, err)
		if CheckRequestSignature(request) == nil {
			t.Error("a changed signature is valid")
		}
	}
}
