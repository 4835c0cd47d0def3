package certs_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// TestMixedChains makes sets in which CAs and signing keys have the same algorithm, or one of
// the two is ML-DSA.
func TestMixedChains(t *testing.T) {
	for _, c := range [][2]string{
		{"mldsa44", "mldsa44"},
		{"rsa2048", "mldsa65"},
		{"p384", "mldsa87"},
		{"mldsa44", "rsa2048"},
		{"mldsa87", "p256"},
		{"mldsa65", "mldsa44"},
	} {
		t.Run(c[0]+" over "+c[1], func(t *testing.T) {
			dir := t.TempDir()
			pairs, err := certs.Init(t.Context(), dir, certs.InitOptions{CAAlgorithm: c[0], Algorithm: c[1], With: certs.Extras()})
			check(t, err)
			ca := pairs[0].Certificate
			for _, p := range pairs {
				list, err := certs.Read(t.Context(), p.PEM)
				check(t, err)
				check(t, mldsa.CheckSignature(list[0], ca))
				want := c[1]
				if list[0].IsCA {
					want = c[0]
				}
				if key, err := ima.CertificateKey(list[0]); err != nil || key.Algorithm() != want {
					t.Errorf("%s: %v, %v, want %s", p.Name, key, err, want)
				}
			}
			leaf := pairs[1].Certificate
			for version, refused := range map[kernel.Version]bool{{Major: 7, Minor: 2}: false, {Major: 7, Minor: 1}: true, {}: false} {
				if findings := certs.Check(leaf, []*x509.Certificate{ca}, version); finding.Refused(findings) != refused {
					t.Errorf("kernel %s: %v", version, findings)
				}
			}
		})
	}
}

// TestMLDSAByAnotherCA makes ML-DSA keys for a CA that is there already.
func TestMLDSAByAnotherCA(t *testing.T) {
	key := rsaKey()
	ca, err := certs.NewCA(key, certs.Request{Subject: pkix.Name{CommonName: "CA"}})
	check(t, err)
	pairs, err := certs.Init(t.Context(), t.TempDir(), certs.InitOptions{
		Algorithm: "mldsa65", With: []string{"secondary"}, CA: &certs.Issuer{Certificate: ca, Key: key},
	})
	check(t, err)
	check(t, pairs[0].Certificate.CheckSignatureFrom(ca))
	has(t, certs.Check(pairs[0].Certificate, []*x509.Certificate{ca}, kernel.Version{}), "ml-dsa note")
	has(t, certs.Check(pairs[0].Certificate, []*x509.Certificate{ca}, kernel.Version{Major: 6, Minor: 12}), "ml-dsa refuse")
}

// TestMalformedMLDSA reads a certificate whose key is one bit shorter, in PEM and in DER.
func TestMalformedMLDSA(t *testing.T) {
	pairs, err := certs.Init(t.Context(), t.TempDir(), certs.InitOptions{Algorithm: "mldsa44"})
	check(t, err)
	cert := pairs[1].Certificate
	key := cert.PublicKey.(*mldsa.PublicKey).Bytes()
	der := bytes.Clone(cert.Raw)
	at := bytes.Index(der, key)
	der[at-1] = 1 // unused bits
	der[at+len(key)-1] &^= 1
	for form, data := range map[string][]byte{"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})} {
		if _, err := certs.Parse(data); !errors.Is(err, mldsa.ErrMalformed) || !strings.Contains(err.Error(), "10495 bits") {
			t.Errorf("%s: %v", form, err)
		}
	}
}
