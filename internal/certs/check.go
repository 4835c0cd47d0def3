package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// The rules.
const (
	RuleSubjectKeyID   = "subject-key-id"      // there must be one: the key id is its end
	RuleAlgorithm      = "key-algorithm"       // the kernel must support it
	RuleECDSA          = "ecdsa"               // which kernels and configurations support it
	RuleMLDSA          = "ml-dsa"              // likewise
	RuleSignature      = "signature-algorithm" // how the certificate itself is signed
	RuleUsage          = "key-usage"           // digitalSignature, and not keyCertSign
	RuleCA             = "ca"                  // a CA does not sign files
	RuleIssuer         = "issuer"              // must be in the builtin or secondary keyring
	RuleAuthorityKeyID = "authority-key-id"    // how the issuer is found
	RuleValidity       = "validity"            // the kernel checks no dates
	RuleKeyID          = "key-id"              // equals the key id of the bare key
	RuleShared         = "shared-key-id"       // two keys with the same key id
	RulePurpose        = "purpose"             // a key makes one kind of signature
)

// Check checks a certificate for the .ima keyring of a kernel. It returns the reasons why the
// kernel would refuse it, and warnings. cas are the certificates in the builtin and
// secondary keyrings. If there are none, the issuer is not checked.
func Check(cert *x509.Certificate, cas []*x509.Certificate, version kernel.Version) []finding.Finding {
	c := &checker{kernel: version}
	c.identity(cert)
	c.key(cert.PublicKey, cert)
	c.signature(cert)
	c.leaf(cert)
	c.issuer(cert, cas)
	c.validity(cert)
	return c.findings
}

// CheckEVM is Check for a certificate in the .evm keyring. The kernel loads x509_evm.der
// before any CA is in its secondary keyring, so cas are the certificates in the builtin
// keyring only.
func CheckEVM(cert *x509.Certificate, cas []*x509.Certificate, version kernel.Version) []finding.Finding {
	c := &checker{kernel: version, builtin: true}
	c.identity(cert)
	c.key(cert.PublicKey, cert)
	c.signature(cert)
	c.leaf(cert)
	c.issuer(cert, cas)
	c.validity(cert)
	return c.findings
}

// CheckCA is Check for a CA certificate in the builtin or secondary keyring. A self-signed
// certificate needs no issuer, because it is compiled in.
func CheckCA(cert *x509.Certificate, cas []*x509.Certificate, version kernel.Version) []finding.Finding {
	c := &checker{kernel: version}
	c.identity(cert)
	c.key(cert.PublicKey, cert)
	c.signature(cert)
	c.authority(cert)
	if !selfSigned(cert) {
		c.issuer(cert, cas)
	}
	c.validity(cert)
	return c.findings
}

// CheckSecondaryCA is CheckCA for a certificate that is loaded into the secondary keyring of
// a running kernel. That keyring requires an issuer, so a self-signed certificate must
// already be in cas.
func CheckSecondaryCA(cert *x509.Certificate, cas []*x509.Certificate, version kernel.Version) []finding.Finding {
	findings := CheckCA(cert, cas, version)
	if selfSigned(cert) {
		c := &checker{kernel: version, findings: findings}
		c.issuer(cert, cas)
		return c.findings
	}
	return findings
}

// CheckRevoked is Check for a certificate that is loaded into .ima_blacklist, which revokes
// its key. The certificate's usage is not checked there. cas are the certificates in the
// builtin keyring only (ima_mok_init in the kernel's security/integrity/ima/ima_mok.c).
func CheckRevoked(cert *x509.Certificate, cas []*x509.Certificate, version kernel.Version) []finding.Finding {
	c := &checker{kernel: version}
	c.identity(cert)
	c.key(cert.PublicKey, cert)
	c.signature(cert)
	c.issuer(cert, cas)
	return c.findings
}

// CheckShared returns a finding for every two certificates of different keys with the same
// key id: the kernel tries only one of them.
func CheckShared(list []*x509.Certificate) []finding.Finding {
	c := &checker{}
	first := map[ima.KeyID]*x509.Certificate{}
	for _, cert := range list {
		id, err := ima.KeyIDFromCertificate(cert)
		if err != nil {
			continue // Check reports it
		}
		other, met := first[id]
		switch {
		case !met:
			first[id] = cert
		case !bytes.Equal(other.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo):
			c.add(RuleShared, finding.Warn, "the certificates of %q and %q both have key id %s: of two keys in one keyring the kernel tries only one",
				other.Subject, cert.Subject, id)
		}
	}
	return c.findings
}

type checker struct {
	kernel   kernel.Version
	builtin  bool // the keyring takes no certificates by CAs of the secondary keyring
	findings []finding.Finding
}

func (c *checker) add(rule string, severity finding.Severity, format string, args ...any) {
	c.findings = append(c.findings, finding.New(rule, severity, format, args...))
}

// identity checks the key id.
func (c *checker) identity(cert *x509.Certificate) {
	id, err := ima.KeyIDFromCertificate(cert)
	if err != nil {
		c.add(RuleSubjectKeyID, finding.Refuse, "no subject key identifier of four bytes or more: the kernel loads the certificate, but finds it for no signature")
		return
	}
	if sum, ok := keySum(cert.RawSubjectPublicKeyInfo); ok && !bytes.Equal(sum, cert.SubjectKeyId) {
		c.add(RuleKeyID, finding.Note, "the subject key identifier is not the SHA-1 of the key: signatures must be made with this certificate at hand, the bare key would give key id %x instead of %s",
			sum[len(sum)-4:], id)
	}
}

// key checks the algorithm and size of a key. The findings name the certificate of.
func (c *checker) key(public crypto.PublicKey, of *x509.Certificate) {
	err := supported(public, of)
	switch {
	case errors.Is(err, ima.ErrWeakKey):
		c.add(RuleAlgorithm, finding.Warn, "%v: some kernels take it, this program signs nothing with it", err)
		return
	case err != nil:
		c.add(RuleAlgorithm, finding.Refuse, "the key of %q: %v: the kernel verifies nothing with it", of.Subject, err)
		return
	}
	if key, is := public.(*mldsa.PublicKey); is {
		c.mldsaKey(key, of)
		return
	}
	ec, ok := public.(*ecdsa.PublicKey)
	switch {
	case !ok:
	case c.kernel.Before(5, 13):
		c.add(RuleECDSA, finding.Refuse, "the key of %q: ECDSA signatures are verified since Linux 5.13", of.Subject)
	case ec.Curve == elliptic.P521() && c.kernel.Before(6, 10):
		c.add(RuleAlgorithm, finding.Refuse, "the key of %q: the kernel has P-521 since 6.10", of.Subject)
	default:
		if ec.Curve == elliptic.P521() && c.kernel.Before(6, 12) {
			c.add(RuleAlgorithm, finding.Warn, "the key of %q: P-521 is new in 6.10 and was seen to work from 6.12 on", of.Subject)
		}
		c.add(RuleECDSA, finding.Note, "the key of %q: ECDSA needs CONFIG_CRYPTO_ECDSA, which distribution kernels often lack; without it every signature gets EACCES", of.Subject)
	}
}

func supported(public crypto.PublicKey, cert *x509.Certificate) error {
	if public == nil {
		_, err := ima.CertificateKey(cert) // names the algorithm
		return err
	}
	_, err := ima.BareKey(public)
	return err
}

// leaf checks what the kernel requires since 6.6: restrict_link_by_digsig in
// crypto/asymmetric_keys/restrict.c.
func (c *checker) leaf(cert *x509.Certificate) {
	severity, when := finding.Refuse, "the kernel refuses it in .ima and .evm (ENOKEY)"
	if c.kernel.Before(6, 6) {
		severity, when = finding.Warn, fmt.Sprintf("Linux %s does not mind, 6.6 and later refuse it in .ima and .evm", c.kernel)
	}
	c.purpose(cert)
	if cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		c.add(RuleUsage, severity, "keyUsage lacks digitalSignature: %s", when)
	}
	if cert.KeyUsage&x509.KeyUsageCertSign != 0 {
		c.add(RuleUsage, severity, "keyUsage has keyCertSign: %s", when)
	}
	if cert.BasicConstraintsValid && cert.IsCA {
		c.add(RuleCA, severity, "it is a CA certificate: %s; sign files with a key of their own", when)
	}
}

// purpose checks what the certificate says that its key is for.
func (c *checker) purpose(cert *x509.Certificate) {
	key, err := ima.CertificateKey(cert)
	_, isMLDSA := cert.PublicKey.(*mldsa.PublicKey) // mldsaKey knows its kernels
	switch {
	case errors.Is(err, ima.ErrPurpose):
		c.add(RulePurpose, finding.Warn, "%v: the kernel ignores it, this program refuses it", err)
	case err != nil: // other rules report it
	case key.Purpose() == ima.ForV3 && c.kernel.Before(7, 1) && !isMLDSA:
		c.add(RulePurpose, finding.Warn, "the key is for %s: kernels before 7.1 verify only those of fs-verity digests", ima.ForV3)
	case key.Purpose() == ima.ForEVM && !c.builtin:
		c.add(RulePurpose, finding.Warn, "the key is for %s, but the keyring for security.ima", ima.ForEVM)
	case key.Purpose() == ima.ForV2 && c.builtin:
		c.add(RulePurpose, finding.Warn, "the key is for %s, but the keyring for security.evm", ima.ForV2)
	}
}

// authority checks a CA. The builtin keyring accepts any certificate, but OpenSSL and the
// kernel's machine keyring do not.
func (c *checker) authority(cert *x509.Certificate) {
	if !cert.BasicConstraintsValid || !cert.IsCA {
		c.add(RuleCA, finding.Warn, "it is no CA certificate (basicConstraints CA:TRUE): the builtin keyring takes it, others do not")
	}
	if cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		c.add(RuleUsage, finding.Warn, "keyUsage lacks keyCertSign: the builtin keyring takes it, others do not")
	}
}

// soon is how many days before a certificate expires a warning begins. Devices must have the
// next certificate before the first file is signed with its key.
const soon = 90

// validity checks dates. None is a reason to refuse, because the kernel checks no dates.
func (c *checker) validity(cert *x509.Certificate) {
	switch now := time.Now(); {
	case now.After(cert.NotAfter):
		c.add(RuleValidity, finding.Warn, "expired on %s: the kernel does not look, other tools do", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.AddDate(0, 0, soon).After(cert.NotAfter):
		c.add(RuleValidity, finding.Warn, "expires on %s: make its successor, and have devices trust both, before that day", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		c.add(RuleValidity, finding.Warn, "not valid before %s: the kernel does not look, other tools do", cert.NotBefore.UTC().Format(time.DateOnly))
	}
}

// keySum returns the SHA-1 of the public key bits, the usual subject key identifier (RFC
// 5280, 4.2.1.2, method 1).
func keySum(spki []byte) ([]byte, bool) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &info); err != nil || len(rest) > 0 {
		return nil, false
	}
	sum := sha1.Sum(info.Bits.Bytes)
	return sum[:], true
}
