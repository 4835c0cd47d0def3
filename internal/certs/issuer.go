package certs

import (
	"bytes"
	"crypto/x509"
	"errors"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/mldsa"
)

// signature checks the algorithm by which the certificate was signed.
func (c *checker) signature(cert *x509.Certificate) {
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.ECDSAWithSHA256:
	case x509.SHA384WithRSA, x509.SHA512WithRSA, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		c.add(RuleSignature, finding.Note, "signed with %s: the kernel needs CONFIG_CRYPTO_SHA512 before it loads the certificate", cert.SignatureAlgorithm)
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		c.add(RuleSignature, finding.Warn, "signed with %s: kernels from 6.7 on may refuse SHA-1 certificates", cert.SignatureAlgorithm)
	case x509.UnknownSignatureAlgorithm:
		c.otherSignature(cert)
	default:
		c.add(RuleSignature, finding.Refuse, "signed with %s: %s", cert.SignatureAlgorithm, signatureAlgorithms)
	}
}

const signatureAlgorithms = "the kernel verifies RSA PKCS #1 v1.5, ECDSA and ML-DSA signatures of certificates only"

// otherSignature checks an algorithm that crypto/x509 does not recognise.
func (c *checker) otherSignature(cert *x509.Certificate) {
	switch oid := mldsa.SignatureAlgorithm(cert); {
	case mldsa.NameOf(oid) != "":
		c.mldsaSignature(cert, mldsa.NameOf(oid))
	case oid.String() == rsaPSS: // crypto/x509 recognises only the usual parameters
		c.add(RuleSignature, finding.Refuse, "signed with RSA-PSS: %s", signatureAlgorithms)
	default:
		c.add(RuleSignature, finding.Warn, "signed with algorithm %s, which is not judged here", oid)
	}
}

// rsaPSS is id-RSASSA-PSS (RFC 4055).
const rsaPSS = "1.2.840.113549.1.1.10"

// issuer finds the CA as restrict_link_by_signature does: by the authority key identifier, or
// by name if there is none. Then it verifies the signature.
func (c *checker) issuer(cert *x509.Certificate, cas []*x509.Certificate) {
	if len(cas) == 0 {
		c.add(RuleIssuer, finding.Note, "the issuer %q must be in the %s; no CA was given to check with", cert.Issuer, c.trusted())
		return
	}
	if len(cert.AuthorityKeyId) == 0 {
		c.add(RuleAuthorityKeyID, finding.Note, "no authority key identifier: the kernel finds the issuer by its name (seen from 6.1 on)")
	}
	ca := signerOf(cert, cas)
	switch {
	case ca == nil && selfSigned(cert):
		c.add(RuleIssuer, finding.Refuse, "self-signed, and none of the CAs given: the kernel takes certificates that a CA in its %s signed", c.trusted())
	case ca == nil:
		c.add(RuleIssuer, finding.Refuse, "none of the %d CAs given signed it; it names %q", len(cas), cert.Issuer)
	case len(cert.AuthorityKeyId) == 0 && !bytes.Equal(cert.RawIssuer, ca.RawSubject):
		c.add(RuleIssuer, finding.Refuse, "signed with the key of %q, but names %q, and has no authority key identifier", ca.Subject, cert.Issuer)
	case len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, ca.SubjectKeyId):
		c.add(RuleAuthorityKeyID, finding.Refuse, "signed with the key of %q, whose subject key identifier is %x, but looked for under %x",
			ca.Subject, ca.SubjectKeyId, cert.AuthorityKeyId)
	default:
		c.key(ca.PublicKey, ca)
		if c.builtin && !selfSigned(ca) {
			c.add(RuleIssuer, finding.Warn, "%q, which signed it, is a subordinate CA: it must be compiled into the kernel, because .evm takes no certificate by a CA that is loaded into the secondary keyring", ca.Subject)
		}
	}
}

// trusted names the keyrings that the issuer may be in.
func (c *checker) trusted() string {
	if c.builtin {
		return "builtin keyring"
	}
	return "builtin or secondary keyring"
}

// signerOf returns the CA that signed cert, nil for none. If several have the same key, it
// prefers the one that the kernel finds.
func signerOf(cert *x509.Certificate, cas []*x509.Certificate) *x509.Certificate {
	var found *x509.Certificate
	for _, ca := range cas {
		if !signedBy(cert, ca) {
			continue
		}
		if found == nil || bytes.Equal(cert.AuthorityKeyId, ca.SubjectKeyId) {
			found = ca
		}
	}
	return found
}

// signedBy checks only the signature. crypto/x509 refuses SHA-1: then it compares the names,
// and RuleSignature warns.
func signedBy(cert, ca *x509.Certificate) bool {
	err := mldsa.CheckSignature(cert, ca)
	var insecure x509.InsecureAlgorithmError
	if errors.As(err, &insecure) {
		return bytes.Equal(cert.RawIssuer, ca.RawSubject)
	}
	return err == nil
}

func selfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, cert.RawSubject) && signedBy(cert, cert)
}
