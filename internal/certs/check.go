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
	"slices"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Severity says what a finding costs.
type Severity string

// The severities.
const (
	Refuse Severity = "refuse" // the kernel refuses the certificate, or everything signed with it
	Warn   Severity = "warn"   // it works, and is likely not what is wanted
	Note   Severity = "note"   // worth knowing
)

// Finding is one rule that a certificate meets.
type Finding struct {
	Rule     string   `json:"rule"` // stable, one of the Rule constants
	Severity Severity `json:"severity"`
	Detail   string   `json:"detail"`
}

// The rules.
const (
	RuleSubjectKeyID   = "subject-key-id"      // there must be one, the key id is its end
	RuleAlgorithm      = "key-algorithm"       // what the kernel verifies with
	RuleECDSA          = "ecdsa"               // since when, and with which configuration
	RuleSignature      = "signature-algorithm" // how the certificate itself is signed
	RuleUsage          = "key-usage"           // digitalSignature, and not keyCertSign
	RuleCA             = "ca"                  // a CA does not sign files
	RuleIssuer         = "issuer"              // must be in the builtin or secondary keyring
	RuleAuthorityKeyID = "authority-key-id"    // how the issuer is found
	RuleValidity       = "validity"            // the kernel looks at no date
	RuleKeyID          = "key-id"              // agrees with that of the bare key
	RuleShared         = "shared-key-id"       // two keys under one key id
)

// Refused reports whether a finding is that the kernel refuses.
func Refused(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Refuse })
}

// Check returns what a kernel would refuse, or take with consequences, of
// a certificate that is to be loaded into its .ima or .evm keyring. cas are those
// in its builtin and secondary keyrings; without any the issuer is not judged.
func Check(cert *x509.Certificate, cas []*x509.Certificate, kernel Kernel) []Finding {
	c := &checker{kernel: kernel}
	c.identity(cert)
	c.key(cert.PublicKey, cert)
	c.signature(cert)
	c.leaf(cert)
	c.issuer(cert, cas)
	c.validity(cert)
	return c.findings
}

// CheckCA is Check for a CA certificate that is to be in the builtin or secondary
// keyring. One that is self-signed needs no issuer: it is compiled in.
func CheckCA(cert *x509.Certificate, cas []*x509.Certificate, kernel Kernel) []Finding {
	c := &checker{kernel: kernel}
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

// CheckSecondaryCA is CheckCA for a certificate that is loaded into the secondary
// keyring of a running kernel, which takes none without an issuer: a self-signed one
// has to be in cas already.
func CheckSecondaryCA(cert *x509.Certificate, cas []*x509.Certificate, kernel Kernel) []Finding {
	findings := CheckCA(cert, cas, kernel)
	if selfSigned(cert) {
		c := &checker{kernel: kernel, findings: findings}
		c.issuer(cert, cas)
		return c.findings
	}
	return findings
}

// CheckRevoked is Check for a certificate that is to be loaded into .ima_blacklist, so
// that signatures by its key no longer count. What the certificate may be used for makes
// no difference there. cas are those in the builtin keyring alone (ima_mok_init in the
// kernel's security/integrity/ima/ima_mok.c).
func CheckRevoked(cert *x509.Certificate, cas []*x509.Certificate, kernel Kernel) []Finding {
	c := &checker{kernel: kernel}
	c.identity(cert)
	c.key(cert.PublicKey, cert)
	c.signature(cert)
	c.issuer(cert, cas)
	return c.findings
}

// CheckShared returns a finding for every two certificates of different keys
// whose key ids are equal: the kernel tries only one of them.
func CheckShared(list []*x509.Certificate) []Finding {
	c := &checker{}
	first := map[ima.KeyID]*x509.Certificate{}
	for _, cert := range list {
		id, err := ima.KeyIDFromCertificate(cert)
		if err != nil {
			continue // Check says so
		}
		other, met := first[id]
		switch {
		case !met:
			first[id] = cert
		case !bytes.Equal(other.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo):
			c.add(RuleShared, Warn, "the certificates of %q and %q both have key id %s: of two keys in one keyring the kernel tries only one",
				other.Subject, cert.Subject, id)
		}
	}
	return c.findings
}

type checker struct {
	kernel   Kernel
	findings []Finding
}

func (c *checker) add(rule string, severity Severity, format string, args ...any) {
	c.findings = append(c.findings, Finding{rule, severity, fmt.Sprintf(format, args...)})
}

// identity judges the key id.
func (c *checker) identity(cert *x509.Certificate) {
	id, err := ima.KeyIDFromCertificate(cert)
	if err != nil {
		c.add(RuleSubjectKeyID, Refuse, "no subject key identifier of four bytes or more: the kernel loads the certificate, but finds it for no signature")
		return
	}
	if sum, ok := keySum(cert.RawSubjectPublicKeyInfo); ok && !bytes.Equal(sum, cert.SubjectKeyId) {
		c.add(RuleKeyID, Note, "the subject key identifier is not the SHA-1 of the key: signatures must be made with this certificate at hand, the bare key would give key id %x instead of %s",
			sum[len(sum)-4:], id)
	}
}

// key judges an algorithm and its size; of is for the text.
func (c *checker) key(public crypto.PublicKey, of *x509.Certificate) {
	err := supported(public, of)
	switch {
	case errors.Is(err, ima.ErrWeakKey):
		c.add(RuleAlgorithm, Warn, "%v: some kernels take it, this program signs nothing with it", err)
		return
	case err != nil:
		c.add(RuleAlgorithm, Refuse, "the key of %q: %v: the kernel verifies nothing with it", of.Subject, err)
		return
	}
	ec, ok := public.(*ecdsa.PublicKey)
	switch {
	case !ok:
	case c.kernel.before(5, 13):
		c.add(RuleECDSA, Refuse, "the key of %q: ECDSA signatures are verified since Linux 5.13", of.Subject)
	case ec.Curve == elliptic.P521() && c.kernel.before(6, 10):
		c.add(RuleAlgorithm, Refuse, "the key of %q: the kernel has P-521 since 6.10", of.Subject)
	default:
		if ec.Curve == elliptic.P521() && c.kernel.before(6, 12) {
			c.add(RuleAlgorithm, Warn, "the key of %q: P-521 is new in 6.10 and was seen to work from 6.12 on", of.Subject)
		}
		c.add(RuleECDSA, Note, "the key of %q: ECDSA needs CONFIG_CRYPTO_ECDSA, which distribution kernels often lack; without it every signature gets EACCES", of.Subject)
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

// signature judges how the certificate was signed.
func (c *checker) signature(cert *x509.Certificate) {
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.ECDSAWithSHA256:
	case x509.SHA384WithRSA, x509.SHA512WithRSA, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		c.add(RuleSignature, Note, "signed with %s: the kernel needs CONFIG_CRYPTO_SHA512 before it loads the certificate", cert.SignatureAlgorithm)
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		c.add(RuleSignature, Warn, "signed with %s: kernels from 6.7 on may refuse SHA-1 certificates", cert.SignatureAlgorithm)
	case x509.UnknownSignatureAlgorithm:
		if signatureOID(cert) == rsaPSS { // crypto/x509 knows those with the usual parameters alone
			c.add(RuleSignature, Refuse, "signed with RSA-PSS: the kernel verifies RSA PKCS #1 v1.5 and ECDSA signatures of certificates only")
			return
		}
		c.add(RuleSignature, Warn, "signed with algorithm %s, which is not judged here", signatureOID(cert))
	default:
		c.add(RuleSignature, Refuse, "signed with %s: the kernel verifies RSA PKCS #1 v1.5 and ECDSA signatures of certificates only", cert.SignatureAlgorithm)
	}
}

// rsaPSS is id-RSASSA-PSS (RFC 4055).
const rsaPSS = "1.2.840.113549.1.1.10"

func signatureOID(cert *x509.Certificate) string {
	var outer struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.Raw, &outer); err != nil {
		return "(unreadable)"
	}
	return outer.Algorithm.Algorithm.String()
}

// leaf judges what restrict_link_by_digsig of the kernel's
// crypto/asymmetric_keys/restrict.c does since 6.6.
func (c *checker) leaf(cert *x509.Certificate) {
	severity, when := Refuse, "the kernel refuses it in .ima and .evm (ENOKEY)"
	if c.kernel.before(6, 6) {
		severity, when = Warn, fmt.Sprintf("Linux %s does not mind, 6.6 and later refuse it in .ima and .evm", c.kernel)
	}
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

// authority judges a CA. The builtin keyring takes anything; OpenSSL, and the
// kernel's machine keyring, do not.
func (c *checker) authority(cert *x509.Certificate) {
	if !cert.BasicConstraintsValid || !cert.IsCA {
		c.add(RuleCA, Warn, "it is no CA certificate (basicConstraints CA:TRUE): the builtin keyring takes it, others do not")
	}
	if cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		c.add(RuleUsage, Warn, "keyUsage lacks keyCertSign: the builtin keyring takes it, others do not")
	}
}

// issuer finds the CA the way restrict_link_by_signature does: by the authority
// key identifier, without one by name; then the signature must hold.
func (c *checker) issuer(cert *x509.Certificate, cas []*x509.Certificate) {
	if len(cas) == 0 {
		c.add(RuleIssuer, Note, "the issuer %q must be in the builtin or secondary keyring; no CA was given to check with", cert.Issuer)
		return
	}
	if len(cert.AuthorityKeyId) == 0 {
		c.add(RuleAuthorityKeyID, Note, "no authority key identifier: the kernel finds the issuer by its name (seen from 6.1 on)")
	}
	ca := signerOf(cert, cas)
	switch {
	case ca == nil && selfSigned(cert):
		c.add(RuleIssuer, Refuse, "self-signed, and none of the CAs given: the kernel takes certificates that a CA in its builtin or secondary keyring signed")
	case ca == nil:
		c.add(RuleIssuer, Refuse, "none of the %d CAs given signed it; it names %q", len(cas), cert.Issuer)
	case len(cert.AuthorityKeyId) == 0 && !bytes.Equal(cert.RawIssuer, ca.RawSubject):
		c.add(RuleIssuer, Refuse, "signed with the key of %q, but names %q, and has no authority key identifier", ca.Subject, cert.Issuer)
	case len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, ca.SubjectKeyId):
		c.add(RuleAuthorityKeyID, Refuse, "signed with the key of %q, whose subject key identifier is %x, but looked for under %x",
			ca.Subject, ca.SubjectKeyId, cert.AuthorityKeyId)
	default:
		c.key(ca.PublicKey, ca)
	}
}

// signerOf prefers, of certificates with one key, the one that the kernel finds.
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

// signedBy looks at the signature alone. crypto/x509 refuses SHA-1; then the name
// has to do, and RuleSignature warns.
func signedBy(cert, ca *x509.Certificate) bool {
	err := ca.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	var insecure x509.InsecureAlgorithmError
	if errors.As(err, &insecure) {
		return bytes.Equal(cert.RawIssuer, ca.RawSubject)
	}
	return err == nil
}

func selfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, cert.RawSubject) && signedBy(cert, cert)
}

// soon is how many days before its end a certificate is warned of: a device needs
// the next one on board before the first file is signed with it.
const soon = 90

// validity: the kernel looks at no date, so none is a refusal.
func (c *checker) validity(cert *x509.Certificate) {
	switch now := time.Now(); {
	case now.After(cert.NotAfter):
		c.add(RuleValidity, Warn, "expired on %s: the kernel does not look, other tools do", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.AddDate(0, 0, soon).After(cert.NotAfter):
		c.add(RuleValidity, Warn, "expires on %s: make its successor, and have devices trust both, before that day", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		c.add(RuleValidity, Warn, "not valid before %s: the kernel does not look, other tools do", cert.NotBefore.UTC().Format(time.DateOnly))
	}
}

// keySum returns the SHA-1 over the public key bits (RFC 5280, 4.2.1.2, method
// 1), which is the usual subject key identifier.
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
