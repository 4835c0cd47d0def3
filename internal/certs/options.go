package certs

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"time"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// InitOptions are the options of Init. The zero value makes RSA-2048 keys in clear for a
// device called "Device".
type InitOptions struct {
	// Algorithm is one of Algorithms; "" means the first.
	Algorithm string
	// CAAlgorithm is the algorithm of the CAs; "" means Algorithm.
	CAAlgorithm string
	// With names further key pairs; see Extras.
	With []string
	// Name is added to the names of the keys that CA certifies: x509_ima becomes
	// x509_ima_NAME. Other sets in the same directory or token have other names.
	Name string
	// Purpose is what the certificates of signing keys state; ima.Unstated states nothing,
	// except for ML-DSA, whose keys are for version 3. With ima.ForV2, x509_evm is for
	// security.evm. With ima.ForEVM, only x509_evm states its purpose.
	Purpose ima.Purpose
	// InExtension states it in an extension of its own, instead of an extended key usage.
	InExtension bool
	// Subject is the subject of every certificate. The role of the key is appended to the
	// common name.
	Subject   pkix.Name
	Days      int       // zero for DefaultDays
	NotBefore time.Time // zero for now
	// Encrypt encrypts a private key, PKCS #8 in DER; nil leaves the keys in clear.
	Encrypt func(ctx context.Context, der []byte) ([]byte, error)
	// Make makes the private keys, usually in a token; nil means GenerateKey.
	Make func(ctx context.Context, name, algorithm string) (*Made, error)
	// CA certifies the keys. If it is nil, Init makes a system CA.
	CA *Issuer
	// OnlyCA makes only the system CA.
	OnlyCA bool
}

// role is one key pair of a set.
type role struct {
	extra  string // its name in With, "" if it is always made
	file   string
	suffix string // of the common name
	isCA   bool
	issue  func(Issuer, crypto.PublicKey, Request) (*x509.Certificate, error)
}

// roles returns all roles. The first is the system CA, which certifies the others.
func roles() []role {
	return []role{
		{"", "system_trusted_key", "system CA", true, nil},
		{"", "x509_ima", "IMA signing", false, Issuer.Signer},
		{"rpm", "x509_ima_rpm", "RPM IMA signing", false, Issuer.Signer},
		{"evm", "x509_evm", "EVM signing", false, Issuer.Signer},
		{"secondary", "x509_secondary", "secondary CA", true, Issuer.SecondaryCA},
	}
}

// Extras lists the key pairs that InitOptions.With may name.
func Extras() []string {
	var names []string
	for _, r := range roles() {
		if r.extra != "" {
			names = append(names, r.extra)
		}
	}
	return names
}

// complete sets defaults and checks everything that needs no key.
func (o *InitOptions) complete() error {
	if o.Algorithm == "" {
		o.Algorithm = Algorithms()[0]
	}
	if o.CAAlgorithm == "" {
		o.CAAlgorithm = o.Algorithm
	}
	for _, algorithm := range []string{o.Algorithm, o.CAAlgorithm} {
		if !slices.Contains(Algorithms(), algorithm) {
			return wrongOption("algorithm %q; there are: %s", algorithm, strings.Join(Algorithms(), ", "))
		}
	}
	for _, name := range o.With {
		if !slices.Contains(Extras(), name) {
			return wrongOption("no key pair is called %q; there are: %s", name, strings.Join(Extras(), ", "))
		}
	}
	if o.Purpose != ima.Unstated && o.Purpose != ima.ForV3 && slices.Contains(mldsa.Names(), o.Algorithm) {
		return wrongOption("%s makes only version 3 signatures", o.Algorithm)
	}
	if o.OnlyCA && (o.CA != nil || len(o.With) > 0) {
		return wrongOption("only a CA was requested, but there is one already or other keys were requested too")
	}
	if o.Encrypt != nil && o.Make != nil {
		return wrongOption("a passphrase encrypts key files, and these keys are made elsewhere")
	}
	if err := o.checkName(); err != nil {
		return err
	}
	if o.Subject.CommonName == "" {
		o.Subject.CommonName = "Device"
	}
	for _, r := range roles() {
		if err := checkSubject(o.subject(r)); err != nil {
			return err
		}
	}
	_, _, err := Request{NotBefore: o.NotBefore, Days: o.Days}.validity()
	return err
}

// purpose returns what the certificate of a role states.
func (o *InitOptions) purpose(r role) ima.Purpose {
	isEVM := r.extra == "evm"
	switch {
	case r.isCA:
		return ima.Unstated
	case slices.Contains(mldsa.Names(), o.Algorithm):
		return ima.ForV3
	case isEVM && o.Purpose == ima.ForV2:
		return ima.ForEVM
	case !isEVM && o.Purpose == ima.ForEVM:
		return ima.Unstated
	}
	return o.Purpose
}

// fileName returns the name of a role's files, which is also the key's label in a token.
func (o *InitOptions) fileName(r role) string {
	if o.Name == "" || r.issue == nil {
		return r.file
	}
	return r.file + "_" + o.Name
}

// checkName refuses characters that do not belong in a file name, and names of other roles.
func (o *InitOptions) checkName() error {
	if strings.ContainsFunc(o.Name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) || len(o.Name) > 64 {
		return wrongOption("name %q: use up to 64 letters, digits, - and _", o.Name)
	}
	if slices.Contains(Extras(), o.Name) {
		return wrongOption("name %q: x509_ima_%[1]s or the like is the name of another kind of key", o.Name)
	}
	if o.Name != "" && o.CA == nil {
		return wrongOption("a set of another name belongs to a CA that there is: name its key and certificate")
	}
	return nil
}

// subject returns the subject of a role's certificate.
func (o *InitOptions) subject(r role) pkix.Name {
	name := o.Subject
	name.CommonName += " " + r.suffix
	if o.Name != "" && r.issue != nil {
		name.CommonName += " " + o.Name
	}
	return name
}
