package ima

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
)

// Keyring is a set of trusted keys, found by key id. Two keys may share an id;
// then each is tried. It never changes after it is made.
type Keyring struct {
	keys map[KeyID][]*PublicKey
	size int
}

// NewKeyring returns a keyring that trusts the given keys. Without keys it
// refuses every signature.
func NewKeyring(keys ...*PublicKey) *Keyring {
	k := &Keyring{keys: make(map[KeyID][]*PublicKey, len(keys)), size: len(keys)}
	for _, key := range keys {
		k.keys[key.id] = append(k.keys[key.id], key)
	}
	return k
}

// Lookup returns the keys of an id, in the order they were given to
// [NewKeyring]. The slice must not be changed.
func (k *Keyring) Lookup(id KeyID) []*PublicKey { return k.keys[id] }

// Verify checks a security.ima value against the digest of a file's content.
// The caller must have computed the digest with the value's own hash, which
// [Parse] tells; one computed with another hash can pass for ECDSA, whose
// signatures do not name their hash. Nil means that a trusted key signed this
// digest. Only version 2 signatures can be valid, as for the kernel
// (xattr_verify in security/integrity/ima/ima_appraise.c).
//
// Errors wrap those of [Parse] and [PublicKey.Verify], and:
//   - [ErrHashOnly]: the digest is right, but nobody signed it
//   - [ErrDigestMismatch]: the value is a digest, or an RSA signature over one,
//     of other content
//   - [ErrUnknownKey], [ErrUnsupportedVersion]
//   - [ErrVerity], [ErrEVMValue]: the value belongs to another check
func (k *Keyring) Verify(value, digest []byte) error {
	_, err := k.VerifyWith(value, digest)
	return err
}

// VerifyWith is [Keyring.Verify] that also returns the key which the signature is
// by, nil with an error.
func (k *Keyring) VerifyWith(value, digest []byte) (*PublicKey, error) {
	v, err := Parse(value)
	if err != nil {
		return nil, err
	}
	switch v.Type {
	case TypeSignature:
		return k.verify(&v, 2, digest)
	case TypeDigest, TypeDigestNG:
		return nil, verifyHashOnly(&v, digest)
	case TypeVerity:
		return nil, fmt.Errorf("ima: %w: needs the fs-verity digest, not that of the content", ErrVerity)
	}
	return nil, fmt.Errorf("ima: %w in %s: %s", ErrEVMValue, XattrIMA, v)
}

// Shared returns the ids that different keys of the ring have in common, in
// ascending order. The kernel looks a key up by its id alone and tries the first
// that it finds (request_asymmetric_key in security/integrity/digsig_asymmetric.c);
// which one that is, nobody chooses, so it refuses what the other signed.
func (k *Keyring) Shared() []KeyID {
	var ids []KeyID
	for id, keys := range k.keys {
		if slices.ContainsFunc(keys[1:], func(other *PublicKey) bool { return !other.Equal(keys[0]) }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Equal reports whether both are the same key, whatever certificate each has.
func (p *PublicKey) Equal(o *PublicKey) bool {
	key, ok := p.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(o.key)
}

// verifyHashOnly always refuses; whether the digest matches decides with what.
func verifyHashOnly(v *Value, digest []byte) error {
	if err := checkDigest(v.Hash, digest); err != nil {
		return err
	}
	if !bytes.Equal(v.Digest[:v.Hash.Size()], digest) {
		return fmt.Errorf("ima: %w: recorded %s %x, the content has %x", ErrDigestMismatch, v.Hash, v.Digest, digest)
	}
	return fmt.Errorf("ima: %w: the %s digest matches, but is not signed", ErrHashOnly, v.Hash)
}

// verify checks a signature value of the one version that its type allows.
func (k *Keyring) verify(v *Value, version uint8, digest []byte) (*PublicKey, error) {
	if v.Version != version {
		return nil, fmt.Errorf("ima: %w: %d in a value of type %s, only %d is verified", ErrUnsupportedVersion, v.Version, v.Type, version)
	}
	h, ok := v.Hash.CryptoHash()
	if !ok {
		return nil, fmt.Errorf("ima: %w: %s", ErrUnsupportedHash, v.Hash)
	}
	keys := k.keys[v.KeyID]
	if len(keys) == 0 {
		return nil, fmt.Errorf("ima: %w: %s is not among %d trusted keys", ErrUnknownKey, v.KeyID, k.size)
	}
	var refused error
	for _, key := range keys {
		err := key.Verify(h, digest, v.Signature)
		if err == nil {
			return key, nil
		}
		// A mismatch proves that this key made the signature, so it says more
		// than the refusal of any other key of the same id.
		if refused == nil || errors.Is(err, ErrDigestMismatch) {
			refused = err
		}
	}
	return nil, refused
}

// checkDigest makes sure that a digest can be one of this hash, without which
// the kernel accepts nothing.
func checkDigest(h HashID, digest []byte) error {
	if !h.known() {
		return fmt.Errorf("ima: %w: id %d", ErrUnknownHash, uint8(h))
	}
	if len(digest) != h.Size() {
		return fmt.Errorf("ima: %w: %d bytes given, %s has %d", ErrDigestSize, len(digest), h, h.Size())
	}
	return nil
}
