package certs

import (
	"crypto/x509"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/mldsa"
)

// mldsaKey checks an ML-DSA key. Its certificate is of.
func (c *checker) mldsaKey(key *mldsa.PublicKey, of *x509.Certificate) {
	if c.kernel.Before(7, 2) {
		c.add(RuleMLDSA, finding.Refuse, "the key of %q: the kernel has %s since 7.2; older ones do not load the certificate (ENOPKG)", of.Subject, key.Algorithm())
		return
	}
	c.add(RuleMLDSA, finding.Note, "the key of %q: ML-DSA needs Linux 7.2 and CONFIG_CRYPTO_MLDSA, which distribution kernels often lack; without it every signature gets EACCES", of.Subject)
}

// mldsaSignature checks a certificate that is signed by ML-DSA.
func (c *checker) mldsaSignature(cert *x509.Certificate, algorithm string) {
	if c.kernel.Before(7, 2) {
		c.add(RuleSignature, finding.Refuse, "signed with %s: the kernel has it since 7.2; older ones do not load the certificate (ENOPKG)", algorithm)
		return
	}
	if err := mldsa.CheckSignatureFormat(cert); err != nil {
		c.add(RuleSignature, finding.Refuse, "signed with %s: %v", algorithm, err)
	}
}
