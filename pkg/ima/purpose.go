package ima

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// Purpose is the kind of signature that a key makes. A key has one purpose, because a
// version 2 signature does not cover its type byte: a signature of version 3 or in
// security.evm is also the version 2 signature of a file whose content is the input of the
// digest that was signed.
type Purpose uint8

// The purposes.
const (
	Unstated Purpose = iota // the certificate does not say: version 2, in security.ima or security.evm
	ForV2                   // version 2 in security.ima
	ForV3                   // version 3, whose signatures cover their type byte: in security.ima and security.evm
	ForEVM                  // version 2 in security.evm
	ForAny                  // all of them, as a kernel uses a key; no certificate states it
)

// String returns the purpose in words that follow "for".
func (p Purpose) String() string {
	return [...]string{
		"version 2 signatures", "version 2 signatures in security.ima", "version 3 signatures",
		"version 2 signatures in security.evm", "any signature",
	}[p]
}

// Allows reports whether a key of this purpose makes signatures of form f.
func (p Purpose) Allows(f Form) bool {
	switch p {
	case ForAny:
		return true
	case ForV3:
		return f.Version == 3
	case ForV2:
		return f.Version == 2 && f.Xattr == XattrIMA
	case ForEVM:
		return f.Version == 2 && f.Xattr == XattrEVM
	}
	return f.Version == 2
}

// arc returns an object identifier of this project. They start with a random number of 31
// bits below 2.25 (ITU-T X.667), because crypto/x509 refuses certificates with numbers of
// 128 bits.
func arc(more ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{2, 25, 322073434}, more...)
}

// ExtKeyUsage returns the object identifier by which an extended key usage states the
// purpose, nil for [Unstated] and [ForAny].
func (p Purpose) ExtKeyUsage() asn1.ObjectIdentifier {
	switch p {
	case ForV2:
		return arc(1, 2)
	case ForV3:
		return arc(1, 3)
	case ForEVM:
		return arc(1, 5)
	}
	return nil
}

// PurposeExtension returns the object identifier of the extension that states the purpose
// where a CA issues no extended key usages of its own. Its value is encoded as an extended
// key usage (RFC 5280, 4.2.1.12), and it is not critical.
func PurposeExtension() asn1.ObjectIdentifier { return arc(2) }

// CertificatePurpose returns the purpose that a certificate states in an extended key usage
// or in the extension [PurposeExtension]. The error wraps [ErrPurpose] if it states several,
// or if the extension is damaged.
func CertificatePurpose(cert *x509.Certificate) (Purpose, error) {
	stated := slices.Clone(cert.UnknownExtKeyUsage)
	for _, e := range cert.Extensions {
		if !e.Id.Equal(PurposeExtension()) {
			continue
		}
		var list []asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(e.Value, &list); err != nil || len(rest) > 0 || len(list) == 0 {
			return Unstated, fmt.Errorf("certificate of %q: %w: its extension %s is damaged", cert.Subject, ErrPurpose, e.Id)
		}
		stated = append(stated, list...)
	}
	found := Unstated
	for _, p := range []Purpose{ForV2, ForV3, ForEVM} {
		if !slices.ContainsFunc(stated, p.ExtKeyUsage().Equal) {
			continue
		}
		if found != Unstated {
			return Unstated, fmt.Errorf("certificate of %q: %w: it is for %s and for %s, and a key has one purpose", cert.Subject, ErrPurpose, found, p)
		}
		found = p
	}
	return found, nil
}

// purposeOf returns the purpose of a key with the certificate cert, nil for none.
func purposeOf(key any, cert *x509.Certificate) (Purpose, error) {
	stated := Unstated
	if cert != nil {
		var err error
		if stated, err = CertificatePurpose(cert); err != nil {
			return stated, err
		}
	}
	pure, is := key.(MessageKey)
	switch {
	case !is:
		return stated, nil
	case stated != Unstated && stated != ForV3:
		return stated, fmt.Errorf("%w: the certificate says that the key is for %s, and %s makes only version 3", ErrPurpose, stated, pure.Algorithm())
	}
	return ForV3, nil
}

// Purpose returns the purpose of the key.
func (p *PublicKey) Purpose() Purpose { return p.purpose }

// For returns the key with another purpose. The error wraps [ErrPurpose] if its certificate
// or its algorithm states another one. [ForAny] is always possible.
func (p *PublicKey) For(purpose Purpose) (*PublicKey, error) {
	if p.purpose != Unstated && p.purpose != ForAny && purpose != p.purpose && purpose != ForAny {
		return nil, fmt.Errorf("key %s: %w: it is for %s, not for %s", p.id, ErrPurpose, p.purpose, purpose)
	}
	other := *p
	other.purpose = purpose
	return &other, nil
}

// ErrUnstated comes with [ErrPurpose] if the key could make such signatures, but its
// certificate does not state it. [PublicKey.For] does.
var ErrUnstated = errors.New("no certificate states")

// checkPurpose returns an error unless the key makes signatures of form f.
func (p *PublicKey) checkPurpose(f Form) error {
	if p.purpose.Allows(f) {
		return nil
	}
	what := fmt.Sprintf("version %d signatures in %s", f.Version, f.Xattr)
	if p.purpose == Unstated {
		return fmt.Errorf("%w: %w what key %s is for, so it is for %s, not for %s", ErrPurpose, ErrUnstated, p.id, p.purpose, what)
	}
	return fmt.Errorf("%w: key %s is for %s, not for %s", ErrPurpose, p.id, p.purpose, what)
}
