package certs

import (
	"crypto/ecdsa"
	"crypto/x509"
	"slices"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/mldsa"
)

// Configured returns findings of [Check] about a certificate for a kernel of a known
// configuration: a refusal for what it lacks, in place of notes about what kernels may lack.
// A nil config changes nothing.
func Configured(findings []finding.Finding, cert *x509.Certificate, config *kernel.Config) []finding.Finding {
	if config == nil {
		return findings
	}
	c := &checker{findings: slices.DeleteFunc(slices.Clone(findings), func(f finding.Finding) bool {
		return f.Severity == finding.Note && slices.Contains([]string{RuleECDSA, RuleMLDSA, RuleSignature}, f.Rule)
	})}
	const verifies = "%s is not set: the kernel verifies nothing with the key"
	switch cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if config.Provided(symbolECDSA) == "" {
			c.add(RuleECDSA, finding.Refuse, verifies, symbolECDSA)
		}
	case *mldsa.PublicKey:
		if config.Provided(symbolMLDSA) == "" {
			c.add(RuleMLDSA, finding.Refuse, verifies, symbolMLDSA)
		}
	}
	for _, symbol := range signatureSymbols(cert) {
		if config.Provided(symbol) == "" {
			c.add(RuleSignature, finding.Refuse, "%s is not set: the kernel cannot verify how the certificate is signed", symbol)
		}
	}
	return c.findings
}

const (
	symbolECDSA  = "CONFIG_CRYPTO_ECDSA"
	symbolMLDSA  = "CONFIG_CRYPTO_MLDSA"
	symbolSHA512 = "CONFIG_CRYPTO_SHA512"
)

// signatureSymbols returns the symbols without which the certificate's own signature cannot
// be verified.
func signatureSymbols(cert *x509.Certificate) []string {
	switch cert.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA1:
		return []string{symbolECDSA}
	case x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return []string{symbolECDSA, symbolSHA512}
	case x509.SHA384WithRSA, x509.SHA512WithRSA:
		return []string{symbolSHA512}
	}
	if mldsa.NameOf(mldsa.SignatureAlgorithm(cert)) != "" {
		return []string{symbolMLDSA}
	}
	return nil
}
