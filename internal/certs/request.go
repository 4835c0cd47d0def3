package certs

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// NewRequest returns a certificate request (PKCS #10, RFC 2986) in DER, with which a CA
// elsewhere certifies a key that signs files. Of r, Subject, Purpose and InExtension count.
//
// It asks for the extensions that the kernel needs: keyUsage with digitalSignature, and a
// subject key identifier, which is skid or, if that is nil, the SHA-1 of the key. A wrong
// option is [ErrOption].
func NewRequest(key crypto.Signer, r Request, skid []byte) ([]byte, error) {
	_, isMLDSA := key.Public().(*mldsa.PublicKey)
	switch {
	case isMLDSA && r.Purpose == ima.Unstated:
		r.Purpose = ima.ForV3
	case isMLDSA && r.Purpose != ima.ForV3:
		return nil, wrongOption("ML-DSA keys make only version 3 signatures")
	}
	signer, err := r.template(key.Public())
	if err != nil {
		return nil, err
	}
	if skid != nil {
		signer.SubjectKeyId = skid
	}
	asSigner(signer)
	if err := r.statePurpose(signer); err != nil {
		return nil, err
	}
	extensions, err := requested(signer)
	if err != nil {
		return nil, err
	}
	der, err := mldsa.CreateCertificateRequest(&x509.CertificateRequest{Subject: r.Subject, ExtraExtensions: extensions}, key)
	if err != nil {
		return nil, fmt.Errorf("sign the request of %q: %w", r.Subject, err)
	}
	made, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = mldsa.CheckRequestSignature(made)
	}
	if err != nil {
		return nil, fmt.Errorf("sign the request of %q: %w", r.Subject, err)
	}
	return der, nil
}

// requested returns the extensions of a signer's template that a request asks for.
func requested(t *x509.Certificate) ([]pkix.Extension, error) {
	id, err := asn1.Marshal(t.SubjectKeyId)
	if err != nil {
		return nil, err
	}
	// digitalSignature is bit 0, the only use of signers (RFC 5280, 4.2.1.3).
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})
	if err != nil {
		return nil, err
	}
	list := []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 14}, Value: id},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: usage, Critical: true},
	}
	if t.UnknownExtKeyUsage != nil {
		purposes, err := asn1.Marshal(t.UnknownExtKeyUsage)
		if err != nil {
			return nil, err
		}
		list = append(list, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: purposes})
	}
	return append(list, t.ExtraExtensions...), nil
}
