package mldsa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// This file stands in for crypto/x509 until that supports ML-DSA. It lets crypto/x509
// make a certificate with a key of another algorithm, then replaces the public key, the names
// of the algorithm, and the signature.

// subjectPublicKeyInfo is the structure of that name in RFC 5280, section 4.1.
type subjectPublicKeyInfo struct {
	Raw       asn1.RawContent
	Algorithm pkix.AlgorithmIdentifier
	Bits      asn1.BitString
}

// ParseCertificate is [x509.ParseCertificate], and sets PublicKey to a *PublicKey if the
// certificate is of an ML-DSA key.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return cert, Complete(cert)
}

// Complete sets the PublicKey of a certificate that crypto/x509 has parsed, if it is of an
// ML-DSA key. Other certificates stay as they are.
func Complete(cert *x509.Certificate) error {
	if cert.PublicKey != nil {
		return nil
	}
	key, err := ParsePKIXPublicKey(cert.RawSubjectPublicKeyInfo)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if key != nil {
		cert.PublicKey = key
	}
	return nil
}

// ErrMalformed means that the public key of a certificate is not encoded as RFC 9881 demands.
var ErrMalformed = errors.New("its ML-DSA key is malformed")

// ParsePKIXPublicKey reads a SubjectPublicKeyInfo. It returns nil without an error if its
// algorithm is not ML-DSA.
func ParsePKIXPublicKey(der []byte) (*PublicKey, error) {
	var info subjectPublicKeyInfo
	rest, err := asn1.Unmarshal(der, &info)
	name := NameOf(info.Algorithm.Algorithm)
	switch {
	case err != nil || name == "":
		return nil, nil //nolint:nilerr // crypto/x509 judges what is not ML-DSA
	case len(rest) > 0:
		return nil, errors.New("trailing data")
	case info.Bits.BitLength%8 != 0:
		return nil, fmt.Errorf("a public key of %d bits, which are not whole bytes", info.Bits.BitLength)
	case len(info.Algorithm.Parameters.FullBytes) > 0:
		return nil, errors.New("its algorithm has parameters, and ML-DSA has none")
	}
	return NewPublicKey(name, info.Bits.Bytes)
}

// MarshalPKIXPublicKey is [x509.MarshalPKIXPublicKey], also for a *PublicKey.
func MarshalPKIXPublicKey(public crypto.PublicKey) ([]byte, error) {
	key, ok := public.(*PublicKey)
	if !ok {
		return x509.MarshalPKIXPublicKey(public)
	}
	bits := asn1.BitString{Bytes: key.bits, BitLength: 8 * len(key.bits)}
	return asn1.Marshal(subjectPublicKeyInfo{Algorithm: algorithm(key.name), Bits: bits})
}

// ErrSignature means that a signature does not belong to the key.
var ErrSignature = errors.New("the signature is not valid")

// CheckSignature checks that the key of ca signed cert, by any algorithm. It checks nothing
// else. Errors are those of [x509.Certificate.CheckSignature], or [ErrSignature].
func CheckSignature(cert, ca *x509.Certificate) error {
	key, ok := ca.PublicKey.(*PublicKey)
	if !ok {
		return ca.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	}
	return key.check(cert.Raw)
}

// check checks the signature of a certificate or a request.
func (p *PublicKey) check(der []byte) error {
	var outer signed
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return ErrSignature
	}
	if err := outer.checkFormat(); err != nil {
		return err
	}
	if NameOf(outer.Algorithm.Algorithm) != p.name || !p.VerifyMessage(outer.Content.FullBytes, outer.Signature.Bytes) {
		return ErrSignature
	}
	return nil
}

// SignatureAlgorithm returns the object identifier of the algorithm that cert is signed with,
// which crypto/x509 does not tell if it does not know it.
func SignatureAlgorithm(cert *x509.Certificate) asn1.ObjectIdentifier {
	var outer signed
	if _, err := asn1.Unmarshal(cert.Raw, &outer); err != nil {
		return nil // crypto/x509 has read it
	}
	return outer.Algorithm.Algorithm
}

// CheckSignatureFormat checks the encoding of a certificate's ML-DSA signature, without its
// issuer.
func CheckSignatureFormat(cert *x509.Certificate) error {
	var outer signed
	if _, err := asn1.Unmarshal(cert.Raw, &outer); err != nil {
		return ErrSignature
	}
	return outer.checkFormat()
}

// checkFormat checks what RFC 9881, sections 2 and 3, says of every ML-DSA signature.
func (s *signed) checkFormat() error {
	scheme := scheme(NameOf(s.Algorithm.Algorithm))
	switch {
	case scheme == nil:
		return ErrSignature
	case len(s.Algorithm.Parameters.FullBytes) > 0:
		return errors.New("the algorithm of the signature has parameters, and ML-DSA has none")
	case s.Signature.BitLength != 8*scheme.SignatureSize():
		return fmt.Errorf("a signature of %d bits, %s has %d", s.Signature.BitLength, scheme.Name(), 8*scheme.SignatureSize())
	}
	return nil
}

// CheckRequestSignature checks that a request is signed with the key that it is for.
func CheckRequestSignature(request *x509.CertificateRequest) error {
	key, err := ParsePKIXPublicKey(request.RawSubjectPublicKeyInfo)
	switch {
	case err != nil:
		return err
	case key == nil:
		return request.CheckSignature()
	}
	return key.check(request.Raw)
}

// signed is a certificate or a certificate request, whose content has been signed.
type signed struct {
	Content   asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// tbsCertificate is TBSCertificate of RFC 5280, section 4.1, as far as it has to be known.
type tbsCertificate struct {
	Version    int `asn1:"optional,explicit,default:0,tag:0"`
	Serial     asn1.RawValue
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Extensions asn1.RawValue `asn1:"optional,explicit,tag:3"`
}

// tbsRequest is CertificationRequestInfo of RFC 2986, section 4.1.
type tbsRequest struct {
	Version    int
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Attributes asn1.RawValue
}

// CreateCertificate is [x509.CreateCertificate], also for ML-DSA keys of the subject, the
// issuer, or both.
func CreateCertificate(template, parent *x509.Certificate, public crypto.PublicKey, private crypto.Signer) ([]byte, error) {
	if !isMLDSA(public) && !isMLDSA(private.Public()) {
		return x509.CreateCertificate(rand.Reader, template, parent, public, private)
	}
	standIn, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	issuer := *parent
	issuer.PublicKey = nil // crypto/x509 would compare it with the stand-in
	der, err := x509.CreateCertificate(rand.Reader, template, &issuer, standIn.Public(), standIn)
	if err != nil {
		return nil, err
	}
	var outer signed
	var tbs tbsCertificate
	if err := unmarshal(der, &outer, &tbs); err != nil {
		return nil, err
	}
	algorithm, hash, err := signatureAlgorithm(private.Public())
	if err != nil {
		return nil, err
	}
	tbs.Algorithm = algorithm
	if tbs.PublicKey.FullBytes, err = MarshalPKIXPublicKey(public); err != nil {
		return nil, err
	}
	return sealed(tbs, algorithm, hash, private)
}

// CreateCertificateRequest is [x509.CreateCertificateRequest], also for an ML-DSA key.
func CreateCertificateRequest(template *x509.CertificateRequest, private crypto.Signer) ([]byte, error) {
	if !isMLDSA(private.Public()) {
		return x509.CreateCertificateRequest(rand.Reader, template, private)
	}
	standIn, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, standIn)
	if err != nil {
		return nil, err
	}
	var outer signed
	var tbs tbsRequest
	if err := unmarshal(der, &outer, &tbs); err != nil {
		return nil, err
	}
	if tbs.PublicKey.FullBytes, err = MarshalPKIXPublicKey(private.Public()); err != nil {
		return nil, err
	}
	algorithm, hash, err := signatureAlgorithm(private.Public())
	if err != nil {
		return nil, err
	}
	return sealed(tbs, algorithm, hash, private)
}

func isMLDSA(public crypto.PublicKey) bool {
	_, ok := public.(*PublicKey)
	return ok
}

func unmarshal(der []byte, outer *signed, tbs any) error {
	if _, err := asn1.Unmarshal(der, outer); err != nil {
		return err
	}
	_, err := asn1.Unmarshal(outer.Content.FullBytes, tbs)
	return err
}

// sealed signs a content and returns the certificate or request in DER.
func sealed(tbs any, algorithm pkix.AlgorithmIdentifier, hash crypto.Hash, private crypto.Signer) ([]byte, error) {
	content, err := asn1.Marshal(tbs)
	if err != nil {
		return nil, err
	}
	message := content
	if hash != 0 {
		sum := hash.New()
		sum.Write(content)
		message = sum.Sum(nil)
	}
	signature, err := private.Sign(rand.Reader, message, hash)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(signed{
		asn1.RawValue{FullBytes: content}, algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
}

// signatureAlgorithm returns the algorithm that a CA with this key signs certificates by, and
// the hash that it signs; 0 if it signs the certificate itself.
func signatureAlgorithm(public crypto.PublicKey) (pkix.AlgorithmIdentifier, crypto.Hash, error) {
	switch public := public.(type) {
	case *PublicKey:
		return algorithm(public.name), 0, nil
	case *rsa.PublicKey: // sha256WithRSAEncryption, whose parameters are NULL
		oid := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
		return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue}, crypto.SHA256, nil
	case *ecdsa.PublicKey: // ecdsa-with-SHA256, -SHA384 and -SHA512
		last, hash := 2, crypto.SHA256
		switch public.Curve {
		case elliptic.P384():
			last, hash = 3, crypto.SHA384
		case elliptic.P521():
			last, hash = 4, crypto.SHA512
		}
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, last}}, hash, nil
	}
	return pkix.AlgorithmIdentifier{}, 0, fmt.Errorf("a CA with a key of type %T cannot certify ML-DSA keys", public)
}
