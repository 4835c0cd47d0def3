package certs

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// DefaultDays is the default validity of a certificate. It is long because devices are, and
// because the kernel checks no dates.
const DefaultDays = 3650

// Request describes a new certificate.
type Request struct {
	Subject   pkix.Name
	NotBefore time.Time // zero for now
	Days      int       // zero for DefaultDays
	// Purpose, unless ima.Unstated, is stated in a signer's certificate: in an extended key
	// usage, or in an extension of its own.
	Purpose     ima.Purpose
	InExtension bool
}

// Issuer is a CA and its key. The key may be in a token.
type Issuer struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// NewCA returns a self-signed CA certificate for CONFIG_SYSTEM_TRUSTED_KEYS.
//
// Like all certificates of this package, it is checked against the rules of the newest
// kernel. Errors wrap [ErrOption] or [ErrRefused].
func NewCA(key crypto.Signer, r Request) (*x509.Certificate, error) {
	template, err := r.template(key.Public())
	if err != nil {
		return nil, err
	}
	asCA(template)
	cert, err := create(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return lint(cert, CheckCA(cert, nil, kernel.Version{}))
}

// SecondaryCA returns a CA certificate for the kernel's secondary keyring.
func (i Issuer) SecondaryCA(public crypto.PublicKey, r Request) (*x509.Certificate, error) {
	return i.issue(public, r, asCA, CheckCA)
}

// Signer returns a certificate for a key that signs files, for .ima or .evm.
func (i Issuer) Signer(public crypto.PublicKey, r Request) (*x509.Certificate, error) {
	return i.issue(public, r, asSigner, Check)
}

func (i Issuer) issue(
	public crypto.PublicKey, r Request, shape func(*x509.Certificate),
	check func(*x509.Certificate, []*x509.Certificate, kernel.Version) []finding.Finding,
) (*x509.Certificate, error) {
	template, err := r.template(public)
	if err != nil {
		return nil, err
	}
	// With equal names the certificate would look self-signed.
	if name, err := asn1.Marshal(r.Subject.ToRDNSequence()); err != nil || bytes.Equal(name, i.Certificate.RawSubject) {
		return nil, wrongOption("subject %q is that of the CA", r.Subject)
	}
	shape(template)
	if err := r.statePurpose(template); err != nil {
		return nil, err
	}
	template.AuthorityKeyId = i.Certificate.SubjectKeyId
	cert, err := create(template, i.Certificate, public, i.Key)
	if err != nil {
		return nil, err
	}
	return lint(cert, check(cert, []*x509.Certificate{i.Certificate}, kernel.Version{}))
}

func (r Request) statePurpose(t *x509.Certificate) error {
	oid := r.Purpose.ExtKeyUsage()
	switch {
	case oid == nil:
	case r.InExtension:
		value, err := asn1.Marshal([]asn1.ObjectIdentifier{oid})
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: ima.PurposeExtension(), Value: value})
		return err
	default:
		t.UnknownExtKeyUsage = append(t.UnknownExtKeyUsage, oid)
	}
	return nil
}

func asCA(t *x509.Certificate) {
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

func asSigner(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageDigitalSignature }

// template returns what all certificates have in common. It sets the subject key identifier,
// because crypto/x509 writes none for leaves, and not the SHA-1 of the key for CAs.
func (r Request) template(public crypto.PublicKey) (*x509.Certificate, error) {
	if _, err := ima.BareKey(public); err != nil {
		return nil, optionError{err}
	}
	if err := checkSubject(r.Subject); err != nil {
		return nil, err
	}
	notBefore, notAfter, err := r.validity()
	if err != nil {
		return nil, err
	}
	spki, err := mldsa.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	skid, ok := keySum(spki)
	if !ok {
		return nil, errors.New("the public key cannot be read back")
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: r.Subject, NotBefore: notBefore, NotAfter: notAfter,
		BasicConstraintsValid: true, SubjectKeyId: skid,
	}, nil
}

func (r Request) validity() (from, to time.Time, err error) {
	from, days := r.NotBefore, r.Days
	if from.IsZero() {
		from = time.Now()
	}
	if days == 0 {
		days = DefaultDays
	}
	from = from.UTC().Truncate(time.Second)
	// X.509 has four digits for the year. The dates of the kernel begin with 1970.
	if days < 0 || days > 366*8000 || from.Year() < 1970 || from.AddDate(0, 0, days).Year() > 9999 {
		return from, to, wrongOption("%d days from %s is no validity", days, from.Format(time.DateOnly))
	}
	return from, from.AddDate(0, 0, days), nil
}

// newSerial returns a positive number of 127 random bits. RFC 5280 allows 159.
func newSerial() (*big.Int, error) {
	top := new(big.Int).Lsh(big.NewInt(1), 127)
	n, err := rand.Int(rand.Reader, top)
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func create(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := mldsa.CreateCertificate(template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %q: %w", template.Subject, err)
	}
	return mldsa.ParseCertificate(der)
}

// lint returns cert unless the kernel might refuse it. It ignores dates and purposes, which
// the caller chose.
func lint(cert *x509.Certificate, findings []finding.Finding) (*x509.Certificate, error) {
	for _, f := range findings {
		if f.Severity != finding.Note && f.Rule != RuleValidity && f.Rule != RulePurpose {
			return nil, fmt.Errorf("certificate of %q: %w: %s: %s", cert.Subject, ErrRefused, f.Rule, f.Detail)
		}
	}
	return cert, nil
}
