package ima

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// PublicKey is a key that verifies signatures, with the key id that values name it by.
// It never changes after it is made.
type PublicKey struct {
	id        KeyID
	key       crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or MessageKey
	cert      *x509.Certificate
	algorithm string
	purpose   Purpose
}

// MessageKey is a public key that verifies signatures over messages themselves instead of
// their digests: ML-DSA (FIPS 204), which this package does not implement. A caller puts one
// into [x509.Certificate.PublicKey], which crypto/x509 leaves nil.
type MessageKey interface {
	Algorithm() string // mldsa44, mldsa65 or mldsa87
	Bytes() []byte     // the public key bits; see [BareKey]
	SignatureSize() int
	// VerifyMessage reports whether signature is a pure one of message, with an empty
	// context.
	VerifyMessage(message, signature []byte) bool
	Equal(other crypto.PublicKey) bool
}

// CertificateKey returns the key of a certificate. Its id is the one that the kernel
// finds the key by, [KeyIDFromCertificate]. CertificateKey checks neither the issuer of
// the certificate nor its validity dates, which the kernel ignores too.
//
// The key must be RSA of 2048, 3072 or 4096 bits, ECDSA over the named curve P-256, P-384 or
// P-521, or a [MessageKey]. Errors wrap [ErrUnsupportedKey], [ErrWeakKey] (RSA under 2048
// bits), [ErrNoSubjectKeyID] or [ErrPurpose].
func CertificateKey(cert *x509.Certificate) (*PublicKey, error) {
	if cert.PublicKey == nil {
		return nil, fmt.Errorf("certificate of %q: %w: %s", cert.Subject, ErrUnsupportedKey, foreignAlgorithm(cert))
	}
	algorithm, err := checkKey(cert.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", cert.Subject, err)
	}
	id, err := KeyIDFromCertificate(cert)
	if err != nil {
		return nil, err
	}
	purpose, err := purposeOf(cert.PublicKey, cert)
	if err != nil {
		return nil, err
	}
	return &PublicKey{id: id, key: cert.PublicKey, cert: cert, algorithm: algorithm, purpose: purpose}, nil
}

// BareKey returns a key without a certificate. pub is a *rsa.PublicKey, an
// *ecdsa.PublicKey or a [MessageKey]. The key's id is the one that evmctl computes: the last four bytes of
// the SHA-1 over the public key bits, which are the content of the BIT STRING in its
// SubjectPublicKeyInfo. A certificate with the usual subject key identifier (RFC 5280,
// 4.2.1.2, method 1) gives the same id.
//
// BareKey accepts the same keys as [CertificateKey]. Errors wrap [ErrUnsupportedKey] or
// [ErrWeakKey].
func BareKey(pub crypto.PublicKey) (*PublicKey, error) {
	algorithm, err := checkKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	id, err := keyIDOf(pub)
	if err != nil {
		return nil, err
	}
	purpose, err := purposeOf(pub, nil)
	return &PublicKey{id: id, key: pub, algorithm: algorithm, purpose: purpose}, err
}

// ID returns the key id that signatures by this key carry.
func (p *PublicKey) ID() KeyID { return p.id }

// Public returns the *rsa.PublicKey, *ecdsa.PublicKey or [MessageKey].
func (p *PublicKey) Public() crypto.PublicKey { return p.key }

// Certificate returns the certificate, or nil for a bare key.
func (p *PublicKey) Certificate() *x509.Certificate { return p.cert }

// Algorithm returns the algorithm and size, such as "rsa2048", "p256" or "mldsa65".
func (p *PublicKey) Algorithm() string { return p.algorithm }

// MaxValueSize returns the maximum size in bytes of a signature value by this key, with
// its header. All values by an RSA or ML-DSA key have this size. ECDSA signatures vary in
// size.
func (p *PublicKey) MaxValueSize() int {
	switch pub := p.key.(type) {
	case *rsa.PublicKey:
		return headerSize + pub.Size()
	case MessageKey:
		return headerSize + pub.SignatureSize()
	}
	// DER: a sequence of two integers. An integer whose first bit is set has a zero
	// byte in front.
	number := (p.key.(*ecdsa.PublicKey).Curve.Params().BitSize + 7) / 8
	integers := 2 * (2 + 1 + number)
	if integers > 127 {
		return headerSize + 3 + integers
	}
	return headerSize + 2 + integers
}

// Verify checks a raw signature over a statement. The signature has no header: it is
// RSA PKCS#1 v1.5, ECDSA in ASN.1 DER, or ML-DSA. ECDSA truncates a digest that is longer
// than the curve's order. If an ECDSA signature (r, s) is valid, so is (r, -s), as in every
// implementation. Verify does not look at the key's purpose; [Keyring.Verify] does.
//
// Errors wrap [ErrUnknownHash], [ErrUnsupportedHash], [ErrUnsupportedVersion],
// [ErrDigestSize], [ErrBadSignature] or, only for RSA, [ErrDigestMismatch].
func (p *PublicKey) Verify(s Statement, sig []byte) error {
	h, messages, err := p.messages(s.Form, s.Hash, [][]byte{s.Digest})
	if err != nil {
		return err
	}
	return p.verify(s.Form.Over, h, messages[0], sig)
}

// verify checks a raw signature over a message; see messages. over is for errors.
func (p *PublicKey) verify(over Over, h crypto.Hash, message, sig []byte) error {
	switch pub := p.key.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(pub, h, message, sig) == nil {
			return nil
		}
		id, _ := HashIDOf(h)
		return p.explainRSA(pub, over, id, message, sig)
	case MessageKey:
		if pub.VerifyMessage(message, sig) {
			return nil
		}
		return p.explainPure(pub, over, sig)
	}
	if ecdsa.VerifyASN1(p.key.(*ecdsa.PublicKey), message, sig) {
		return nil
	}
	return p.explainECDSA(over, sig)
}

// Made reports whether this key made a raw signature, without knowing the content.
//
// For RSA the answer is certain: only a signature by this key decrypts to a PKCS#1 v1.5
// block with the public key. For ECDSA and ML-DSA the content is needed to tell. Then made
// is true, and certain is false, for every signature that some key of the same algorithm and
// size can have made. For other signatures made is false and certain is true.
func (p *PublicKey) Made(sig []byte) (made, certain bool) {
	switch pub := p.key.(type) {
	case *rsa.PublicKey:
		if len(sig) != pub.Size() {
			return false, true
		}
		_, made = recoverDigestInfo(pub, sig)
		return made, true
	case MessageKey:
		made = len(sig) == pub.SignatureSize()
		return made, !made
	case *ecdsa.PublicKey:
		var rs struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(sig, &rs)
		n := pub.Curve.Params().N
		made = err == nil && len(rest) == 0 && rs.R.Sign() > 0 && rs.S.Sign() > 0 && rs.R.Cmp(n) < 0 && rs.S.Cmp(n) < 0
		return made, !made
	}
	return false, false
}

// explainRSA returns the reason why a signature is not valid.
func (p *PublicKey) explainRSA(pub *rsa.PublicKey, over Over, h HashID, digest, sig []byte) error {
	if len(sig) != pub.Size() {
		return fmt.Errorf("%w: %d bytes for %s key %s", ErrBadSignature, len(sig), p.algorithm, p.id)
	}
	signed, ok := recoverDigestInfo(pub, sig)
	switch {
	case !ok:
		return fmt.Errorf("%w: damaged, or made by another key than %s %s", ErrBadSignature, p.algorithm, p.id)
	case signed.hash != h.String():
		return fmt.Errorf("%w: the signature is over %s, but labelled %s", ErrBadSignature, signed.hash, h)
	case bytes.Equal(signed.digest, digest):
		return fmt.Errorf("%w: not in its canonical encoding", ErrBadSignature)
	}
	return fmt.Errorf("%w: key %s signed %s %x, the %s has %x", ErrDigestMismatch, p.id, h, signed.digest, over, digest)
}

func (p *PublicKey) explainPure(key MessageKey, over Over, sig []byte) error {
	if len(sig) != key.SignatureSize() {
		return fmt.Errorf("%w: %d bytes for %s key %s", ErrBadSignature, len(sig), p.algorithm, p.id)
	}
	return fmt.Errorf("%w: the %s or the signature by %s key %s changed (ML-DSA cannot tell which)",
		ErrBadSignature, over, p.algorithm, p.id)
}

func (p *PublicKey) explainECDSA(over Over, sig []byte) error {
	var rs struct{ R, S asn1.RawValue }
	rest, err := asn1.Unmarshal(sig, &rs)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("%w: not an ECDSA signature in DER", ErrBadSignature)
	}
	return fmt.Errorf("%w: the %s or the signature by %s key %s changed (ECDSA cannot tell which)",
		ErrBadSignature, over, p.algorithm, p.id)
}

// checkKey returns the algorithm and size of a key, such as "rsa2048", or an error if
// the kernel cannot verify with such a key.
func checkKey(pub crypto.PublicKey) (string, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return checkRSA(pub)
	case *ecdsa.PublicKey:
		return checkECDSA(pub)
	case MessageKey:
		switch name := pub.Algorithm(); name {
		case "mldsa44", "mldsa65", "mldsa87":
			return name, nil
		}
		return "", fmt.Errorf("%w: %s", ErrUnsupportedKey, pub.Algorithm())
	case interface{ Equal(crypto.PublicKey) bool }:
		return "", fmt.Errorf("%w: %T", ErrUnsupportedKey, pub)
	}
	return "", fmt.Errorf("%w: %T is not a public key", ErrUnsupportedKey, pub)
}

func checkRSA(pub *rsa.PublicKey) (string, error) {
	if pub.N == nil || pub.N.Sign() <= 0 || pub.E < 3 || pub.E%2 == 0 {
		return "", fmt.Errorf("%w: malformed RSA key", ErrUnsupportedKey)
	}
	name := fmt.Sprintf("rsa%d", pub.N.BitLen())
	if pub.N.BitLen() < 2048 {
		return "", fmt.Errorf("%w: %s, at least 2048 bits are needed", ErrWeakKey, name)
	}
	// rsa_check_key_length in the kernel's crypto/rsa.c accepts only these sizes.
	switch 8 * pub.Size() {
	case 2048, 3072, 4096:
		return name, nil
	}
	return "", fmt.Errorf("%w: %s, the kernel takes 2048, 3072 or 4096 bits", ErrUnsupportedKey, name)
}

func checkECDSA(pub *ecdsa.PublicKey) (string, error) {
	var name string
	switch pub.Curve {
	case elliptic.P256():
		name = "p256"
	case elliptic.P384():
		name = "p384"
	case elliptic.P521():
		name = "p521"
	case nil:
		return "", fmt.Errorf("%w: ECDSA key without a curve", ErrUnsupportedKey)
	default:
		return "", fmt.Errorf("%w: ECDSA over %s", ErrUnsupportedKey, pub.Curve.Params().Name)
	}
	if _, err := pub.Bytes(); err != nil {
		return "", fmt.Errorf("%w: malformed %s key: %w", ErrUnsupportedKey, name, err)
	}
	return name, nil
}

// foreignAlgorithm returns the name of a key algorithm that crypto/x509 does not parse.
func foreignAlgorithm(cert *x509.Certificate) string {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &info); err != nil {
		return "unreadable public key"
	}
	switch oid := info.Algorithm.Algorithm.String(); oid {
	case "1.2.840.113549.1.1.10":
		return "RSASSA-PSS"
	case "1.2.643.7.1.1.1.1", "1.2.643.7.1.1.1.2":
		return "EC-RDSA (GOST R 34.10-2012)"
	case "1.3.101.113":
		return "Ed448"
	case "2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19":
		return "ML-DSA"
	default:
		return "algorithm " + oid
	}
}
