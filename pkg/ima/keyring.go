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

// Verify checks that value is a trusted key's signature over a statement, and returns
// the key. The statement's form is the one that the caller wants the value to be of;
// a value of another type or version is refused. Of each type the one version is valid
// that the kernel verifies (xattr_verify in security/integrity/ima/ima_appraise.c,
// evm_verify_hmac in security/integrity/evm/evm_main.c).
//
// Errors wrap those of [Parse] and [PublicKey.Verify], and:
//   - [ErrHashOnly]: the digest is right, but nobody signed it; also if the form is
//     that of a digest
//   - [ErrDigestMismatch]: the value is a digest, or an RSA signature over one,
//     of other content
//   - one for a digest of another hash than the value
//   - [ErrUnknownKey], [ErrUnsupportedVersion]
//   - [ErrEVMValue] and other refusals by name: the value is of another form
func (k *Keyring) Verify(value []byte, s Statement) (*PublicKey, error) {
	v, err := Parse(value)
	if err != nil {
		return nil, err
	}
	f := s.Form
	held := v.Type == TypeDigest || v.Type == TypeDigestNG
	switch {
	case v.Type != f.Type && (!held || f.Over != Content):
		return nil, otherForm(&v, f)
	case v.Version != f.Version && !held:
		return nil, fmt.Errorf("%w: %d in a value of type %s, only %d is verified", ErrUnsupportedVersion, v.Version, v.Type, f.Version)
	case v.Hash != s.Hash:
		return nil, fmt.Errorf("%w: %s, the digest is one of %s", errOtherHash, v.Hash, s.Hash)
	case held:
		return nil, verifyHashOnly(&v, s.Digest)
	}
	return k.verify(&v, s)
}

// otherForm says what stands where a value of form f was expected.
func otherForm(v *Value, f Form) error {
	switch {
	case f.Over == Metadata && v.Type == typeEVMHMAC:
		return fmt.Errorf("%w: only the machine that made it can check it", errHMAC)
	case f.Over == Metadata && v.Type == TypeSignature:
		return fmt.Errorf("%w: %s is not portable", ErrEVMValue, v)
	case f.Over == Metadata && v.Type == TypeEVMPortable:
		return fmt.Errorf("%w: %s, not one of this inode", ErrEVMValue, v)
	case v.Type == typeEVMHMAC, v.Type == TypeEVMPortable:
		return fmt.Errorf("%w in %s: %s", ErrEVMValue, f.Xattr, v)
	case f.Over == Content && v.Type == TypeVerity:
		return fmt.Errorf("%w: needs the fs-verity digest, not that of the content", errVerity)
	case f.Over == Verity:
		return fmt.Errorf("%w: %s is not over an fs-verity digest", errIMAValue, v)
	}
	return fmt.Errorf("%w in %s: %s", errIMAValue, f.Xattr, v)
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
		return fmt.Errorf("%w: recorded %s %x, the content has %x", ErrDigestMismatch, v.Hash, v.Digest, digest)
	}
	return fmt.Errorf("%w: the %s digest matches, but is not signed", ErrHashOnly, v.Hash)
}

// verify checks a signature with each key that has its id.
func (k *Keyring) verify(v *Value, s Statement) (*PublicKey, error) {
	if _, ok := v.Hash.CryptoHash(); !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnsupportedHash, v.Hash)
	}
	keys := k.keys[v.KeyID]
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: %s is not among %d trusted keys", ErrUnknownKey, v.KeyID, k.size)
	}
	var refused error
	for _, key := range keys {
		err := key.Verify(s, v.Signature)
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
		return fmt.Errorf("%w: id %d", ErrUnknownHash, uint8(h))
	}
	if len(digest) != h.Size() {
		return fmt.Errorf("%w: %d bytes given, %s has %d", ErrDigestSize, len(digest), h, h.Size())
	}
	return nil
}
