package certs_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/ima"
)

func TestCheckTrusted(t *testing.T) {
	ca, err := certs.NewCA(rsaKey(), named("CA"))
	check(t, err)
	issuer := certs.Issuer{Certificate: ca, Key: rsaKey()}
	of := func(purpose ima.Purpose) *x509.Certificate {
		cert, err := issuer.Signer(ecKey(t, elliptic.P256()).Public(), certs.Request{Subject: pkix.Name{CommonName: "signer"}, Purpose: purpose})
		check(t, err)
		return cert
	}
	type list = []*x509.Certificate
	v2, v3, evm := of(ima.ForV2), of(ima.ForV3), of(ima.ForEVM)
	const warning = "purpose warn"
	has(t, certs.CheckTrusted(list{v2, v3}, list{evm}, certs.Demands{}))
	has(t, certs.CheckTrusted(list{v2, v3}, list{evm}, certs.Demands{IMA: true}), warning)
	has(t, certs.CheckTrusted(list{v2, v3}, list{evm}, certs.Demands{IMA: true, EVM: true}), warning, warning)
	has(t, certs.CheckTrusted(list{v3}, list{v3}, certs.Demands{IMA: true, EVM: true}), warning)          // both keyrings
	has(t, certs.CheckTrusted(list{v2}, list{v2}, certs.Demands{IMA: true, EVM: true}), warning, warning) // both keyrings; once that it is for version 2
}
