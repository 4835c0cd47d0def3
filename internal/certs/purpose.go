package certs

import (
	"bytes"
	"crypto/x509"
	"slices"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// CheckPurposes returns a warning for every key that is trusted for two kinds of signatures,
// of which one can pass for the other. inIMA are the certificates in the .ima keyring, inEVM
// those in .evm. A key in both is one of these even if it makes only version 3 signatures:
// type 03 in security.evm is a signature of the metadata of one inode (evm_verify_hmac in the
// kernel's security/integrity/evm/evm_main.c). As in the kernel, keys are the same if their
// subject key identifiers are.
func CheckPurposes(inIMA, inEVM []*x509.Certificate) []finding.Finding {
	c := &checker{}
	all := slices.Concat(inIMA, inEVM)
	purpose := func(i int) ima.Purpose {
		switch purpose := purposeOf(all[i]); {
		case purpose != ima.Unstated:
			return purpose
		case i < len(inIMA):
			return ima.ForV2
		}
		return ima.ForEVM
	}
	for i, cert := range all {
		for j, other := range all[:i] {
			both := j < len(inIMA) && i >= len(inIMA)
			if len(cert.SubjectKeyId) == 0 || !bytes.Equal(cert.SubjectKeyId, other.SubjectKeyId) || purpose(i) == purpose(j) && !both {
				continue
			}
			c.twoPurposes(other, cert, purpose(j), purpose(i))
			break
		}
	}
	return c.findings
}

func (c *checker) twoPurposes(one, two *x509.Certificate, first, second ima.Purpose) {
	if first == second && second == ima.ForV3 { // evm_verify_hmac in Linux 7.3 takes type 0x03, too
		c.add(RulePurpose, finding.Warn, "the key of %q, for %s, is trusted for security.ima and for security.evm: a signature of a file with chosen content passes for one of the metadata of a single inode",
			two.Subject, second)
		return
	}
	if first == second { // in two keyrings
		c.add(RulePurpose, finding.Warn, "the key of %q, for %s, is trusted for security.ima and for security.evm: a signature of a file with chosen content passes for one of another file's metadata",
			two.Subject, second)
		return
	}
	c.add(RulePurpose, finding.Warn, "%q and %q have one key (subject key identifier %x), trusted for %s and for %s: a signature of a file with chosen content passes for one of the other kind",
		one.Subject, two.Subject, two.SubjectKeyId, first, second)
}

// CheckVersion3 returns a warning for every key that makes version 2 signatures. list are the
// certificates in a keyring from which version 3 is demanded: .ima under
// appraise_type=sigv3, .evm with bit 3 of EVM. There, the version 2 signature of a file with
// chosen content is a version 3 signature of another file.
func CheckVersion3(list []*x509.Certificate) []finding.Finding {
	c := &checker{}
	for _, cert := range list {
		if purpose := purposeOf(cert); purpose != ima.ForV3 {
			c.add(RulePurpose, finding.Warn, "the key of %q is for %s, but trusted where version 3 is demanded: its signature of a file with chosen content passes for a version 3 signature of another file",
				cert.Subject, purpose)
		}
	}
	return c.findings
}

// purposeOf returns what the key of a certificate is for. If the certificate states several
// purposes, about which Check warns, that is unstated.
func purposeOf(cert *x509.Certificate) ima.Purpose {
	if _, is := cert.PublicKey.(*mldsa.PublicKey); is {
		return ima.ForV3
	}
	purpose, _ := ima.CertificatePurpose(cert)
	return purpose
}
