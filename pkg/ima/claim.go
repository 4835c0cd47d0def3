package ima

import (
	"context"
	"crypto"
)

// Origin is the container that files are in. All files of a container share one Origin.
type Origin struct {
	Container string // its kind, as in a manifest: tree, rpm, and so on
	Name      string // its name in a manifest, in raw bytes; "" if it has none
	// Header is the main header of an RPM package, and Signature the OpenPGP signature over
	// exactly these bytes. Both are nil for other containers and for unsigned packages.
	Header, Signature []byte
}

// Claim says what a digest is of. A digest does not prove it.
type Claim struct {
	Origin *Origin // nil if it is not known
	Path   string  // in the container; raw bytes
	// IMA is the value of security.ima that the metadata includes, for forms over metadata.
	IMA []byte
}

// ClaimSigner is a [Signer] that also wants to know what the digests are of, as a signing
// service does. claims has one element for each digest.
type ClaimSigner interface {
	SignClaims(ctx context.Context, f Form, h HashID, digests [][]byte, claims []Claim) (signatures [][]byte, err error)
}

// WithClaims returns s for one call of [Sign] with as many digests as there are claims. If s
// is a [ClaimSigner], the call passes the claims to it.
func WithClaims(s Signer, claims []Claim) Signer {
	if c, ok := s.(ClaimSigner); ok {
		return claiming{s, c, claims}
	}
	return s
}

type claiming struct {
	Signer

	to     ClaimSigner
	claims []Claim
}

func (c claiming) Sign(ctx context.Context, f Form, h HashID, digests [][]byte) ([][]byte, error) {
	return c.to.SignClaims(ctx, f, h, digests, c.claims)
}

// VerifiesWith reports whether the Signer verifies every signature with pub.
func (c claiming) VerifiesWith(pub crypto.PublicKey) bool {
	s, ok := c.Signer.(SelfVerifying)
	return ok && s.VerifiesWith(pub)
}
