package pkgheader

import (
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// Errors of Check. They are wrapped with what is wrong.
var (
	// ErrHeader means a header that is malformed, says nothing usable, or is too old.
	ErrHeader = errors.New("the package header is refused")
	// ErrSignature means that no acceptable signature by a key of the keyring is over the header.
	ErrSignature = errors.New("the signature of the package header is refused")
)

// Checker checks package headers. It never changes after it is made.
type Checker struct {
	keys  openpgp.EntityList
	after time.Time
}

// maxKeyring is the size in bytes of the largest keyring.
const maxKeyring = 1 << 20

// New returns a Checker that accepts signatures by the OpenPGP keys in keyring, armored or not,
// and packages that were built after a time. The zero time accepts all. Signatures need a key
// that is for signing. New refuses a keyring without keys or with a secret key.
func New(keyring []byte, builtAfter time.Time) (*Checker, error) {
	if len(keyring) > maxKeyring {
		return nil, fmt.Errorf("OpenPGP keyring: it has more than %d bytes", maxKeyring)
	}
	keys, err := rpmsign.ReadKeyRing(keyring)
	if err != nil {
		return nil, fmt.Errorf("OpenPGP keyring: %w", err)
	}
	if len(keys) == 0 {
		return nil, errors.New("OpenPGP keyring: it has no keys")
	}
	for _, e := range keys {
		if self, _ := e.PrimarySelfSignature(); self == nil {
			return nil, fmt.Errorf("OpenPGP keyring: key %X has no valid signature by itself", e.PrimaryKey.Fingerprint)
		}
		if e.PrivateKey != nil {
			return nil, fmt.Errorf("OpenPGP keyring: it has the secret part of key %X: export only the public part", e.PrimaryKey.Fingerprint)
		}
	}
	return &Checker{keys, builtAfter}, nil
}

// Header is what a signed header says.
type Header struct {
	hash    ima.HashID
	digests map[string]struct{}
}

// Check reads a main header and verifies the signature over it. signature is one or several
// OpenPGP signature packets, one after the other; one that is accepted is enough. now is the
// time at which the signature and the key must still be valid.
//
// Errors wrap [ErrHeader] or [ErrSignature].
func (c *Checker) Check(header, signature []byte, now time.Time) (*Header, error) {
	hash, digests, built, err := rpmsign.HeaderDigests(header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if built.Before(c.after) {
		return nil, fmt.Errorf("%w: the package was built at %s, but only packages since %s are signed",
			ErrHeader, built.Format(time.RFC3339), c.after.UTC().Format(time.RFC3339))
	}
	if err := c.verify(header, signature, now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	h := &Header{hash, make(map[string]struct{}, len(digests))}
	for _, digest := range digests {
		h.digests[string(digest)] = struct{}{}
	}
	return h, nil
}

// Has reports whether a regular file of the package has this digest by this hash.
func (h *Header) Has(hash ima.HashID, digest []byte) bool {
	_, is := h.digests[string(digest)]
	return is && hash == h.hash
}
