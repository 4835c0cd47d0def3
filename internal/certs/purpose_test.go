package certs_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/pkg/ima"
)

func TestCheckPurposes(t *testing.T) {
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	ca, err := certs.NewCA(rsaKey(), named("CA"))
	check(t, err)
	issuer := certs.Issuer{Certificate: ca, Key: rsaKey()}
	of := func(purpose ima.Purpose) *x509.Certificate {
		cert, err := issuer.Signer(key.Public(), certs.Request{Subject: pkix.Name{CommonName: "one"}, Purpose: purpose})
		check(t, err)
		return cert
	}
	silent, v2, v3, evm := of(ima.Unstated), of(ima.ForV2), of(ima.ForV3), of(ima.ForEVM)
	different, err := issuer.Signer(other.Public(), certs.Request{Subject: pkix.Name{CommonName: "two"}, Purpose: ima.ForV3, InExtension: true})
	check(t, err)
	type list = []*x509.Certificate
	for _, c := range []struct {
		name       string
		inIMA, evm list
		want       []string
	}{
		{"two keys", list{v2, different}, nil, nil},
		{"one key renewed", list{v2, silent, v2}, list{}, nil},
		{"one key, two purposes", list{silent, v3}, nil, []string{"purpose warn"}},
		{"v2 in both keyrings", list{v2}, list{v2}, []string{"purpose warn"}},
		{"silent in both keyrings", list{silent}, list{silent}, []string{"purpose warn"}},
		{"v2 and EVM", list{different, v2}, list{evm}, []string{"purpose warn"}},
		{"v3 in both keyrings", list{v3}, list{v3}, []string{"purpose warn"}},
		{"v3 and v2 EVM", list{v3}, list{evm}, []string{"purpose warn"}},
	} {
		t.Run(c.name, func(t *testing.T) { has(t, certs.CheckPurposes(c.inIMA, c.evm), c.want...) })
	}
	has(t, certs.CheckVersion3(list{different, v2, v3, silent}), "purpose warn", "purpose warn")
}

// TestCheckPurpose checks certificates of ML-DSA keys and others for each keyring.
func TestCheckPurpose(t *testing.T) {
	ca, err := certs.NewCA(rsaKey(), named("CA"))
	check(t, err)
	issuer := certs.Issuer{Certificate: ca, Key: rsaKey()}
	cas := []*x509.Certificate{ca}
	pq, err := certs.GenerateKey("mldsa44")
	check(t, err)
	leaf, err := certs.GenerateKey("rsa2048")
	check(t, err)
	for _, c := range []struct {
		key          crypto.Signer
		purpose      ima.Purpose
		inIMA, inEVM string
	}{
		{leaf, ima.Unstated, "", ""},
		{leaf, ima.ForV2, "", "purpose warn"},
		{leaf, ima.ForEVM, "purpose warn", ""},
		{leaf, ima.ForV3, "", ""},
		{pq, ima.ForV3, "ml-dsa note", "ml-dsa note"},
		{pq, ima.ForV2, "ml-dsa note,purpose warn", "ml-dsa note,purpose warn"},
	} {
		for _, extension := range []bool{false, true} {
			cert, err := issuer.Signer(c.key.Public(), certs.Request{Subject: pkix.Name{CommonName: "x"}, Purpose: c.purpose, InExtension: extension})
			check(t, err)
			if stated, err := ima.CertificatePurpose(cert); stated != c.purpose {
				t.Errorf("%s: states %s, %v", c.purpose, stated, err)
			}
			for want, findings := range map[string][]finding.Finding{
				c.inIMA: certs.Check(cert, cas, kernel.Version{}), "|" + c.inEVM: certs.CheckEVM(cert, cas, kernel.Version{}),
			} {
				has(t, findings, strings.FieldsFunc(want, func(r rune) bool { return r == ',' || r == '|' })...)
			}
		}
	}
}

// TestVersion3OfOldKernels checks a certificate for signatures that the kernel does not know.
func TestVersion3OfOldKernels(t *testing.T) {
	ca, err := certs.NewCA(rsaKey(), named("CA"))
	check(t, err)
	cert, err := certs.Issuer{Certificate: ca, Key: rsaKey()}.Signer(rsaKey().Public(), certs.Request{Subject: pkix.Name{CommonName: "x"}, Purpose: ima.ForV3})
	check(t, err)
	cas := []*x509.Certificate{ca}
	has(t, certs.Check(cert, cas, kernel.Version{Major: 7, Minor: 0}), "purpose warn")
	has(t, certs.Check(cert, cas, kernel.Version{Major: 7, Minor: 1}))
}

func TestConfigured(t *testing.T) {
	read := func(lines string) *kernel.Config {
		config, err := kernel.ReadConfig(strings.NewReader("CONFIG_IMA=y\n" + lines))
		check(t, err)
		return config
	}
	for _, c := range []struct {
		ca, leaf, config string
		want             []string
	}{
		{"rsa2048", "rsa2048", "", nil},
		{"rsa2048", "mldsa44", "", []string{"ml-dsa refuse"}},
		{"rsa2048", "mldsa44", "CONFIG_CRYPTO_MLDSA=y", nil},
		{"mldsa44", "rsa2048", "", []string{"signature-algorithm refuse"}},
		{"mldsa44", "p256", "CONFIG_CRYPTO_MLDSA=m", []string{"ecdsa refuse"}},
		{"p384", "rsa2048", "CONFIG_CRYPTO_ECDSA=y", []string{"signature-algorithm refuse"}},
		{"p384", "p256", "CONFIG_CRYPTO_ECDSA=y\nCONFIG_CRYPTO_SHA512_ARM64=y", nil},
	} {
		pairs, err := certs.Init(t.Context(), t.TempDir(), certs.InitOptions{CAAlgorithm: c.ca, Algorithm: c.leaf})
		check(t, err)
		cert := pairs[1].Certificate
		findings := certs.Check(cert, []*x509.Certificate{pairs[0].Certificate}, kernel.Version{})
		has(t, certs.Configured(findings, cert, read(c.config)), c.want...)
		if got := certs.Configured(findings, cert, nil); len(got) != len(findings) {
			t.Errorf("without a configuration: %v", got)
		}
	}
}
