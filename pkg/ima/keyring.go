package ima

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Keyring is a set of trusted keys, looked up by key id. If several keys have the same
// id, each is tried. A Keyring never changes after it is made.
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

// MaxValueSize returns the maximum size in bytes of a signature value by a key of the ring,
// 0 if there is none; see [PublicKey.MaxValueSize].
func (k *Keyring) MaxValueSize() (size int) {
	for _, keys := range k.keys {
		for _, key := range keys {
			size = max(size, key.MaxValueSize())
		}
	}
	return size
}

// Verify checks that value is a trusted key's signature over a statement, and returns
// that key. The value must have the type and version of the statement's form. The form
// constructors, such as [ContentSignature], return for each type the version that the
// kernel verifies (xattr_verify in security/integrity/ima/ima_appraise.c,
// evm_verify_hmac in security/integrity/evm/evm_main.c).
//
// Errors wrap a [Refusal], those of [Parse] and [PublicKey.Verify] included:
//   - [ErrHashOnly]: the value holds the right digest, but no signature, even if the
//     statement's form is that of a digest
//   - [ErrDigestMismatch]: the value holds the digest of other content, or an RSA
//     signature over it
//   - [ErrUnknownKey]: no key of the ring has the value's key id
//   - [ErrPurpose]: the keys with this id are for other signatures
//   - [ErrUnsupportedVersion]: the value has another version than the form
//   - [ErrEVMValue], or one that is not exported: the value has another type than the
//     form, or is over another hash than the digest
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
		return nil, fmt.Errorf("%w: %s, but the digest is %s", errOtherHash, v.Hash, s.Hash)
	case held:
		return nil, verifyHashOnly(&v, s.Digest)
	}
	return k.verify(&v, s)
}

// otherForm returns the error for a value that does not have the expected form f.
func otherForm(v *Value, f Form) error {
	switch {
	case f.Over == Metadata && v.Type == typeEVMHMAC:
		return fmt.Errorf("%w: it cannot be verified here, only on the device that made it", errHMAC)
	case f.Over == Metadata && v.Type == TypeSignature:
		return fmt.Errorf("%w: it cannot be verified here: it is for one inode of one file system, not portable (%s)", ErrEVMValue, v)
	case f.Over == Metadata && v.Type == TypeEVMPortable:
		return fmt.Errorf("%w: %s, not a signature of this inode", ErrEVMValue, v)
	case v.Type == typeEVMHMAC, v.Type == TypeEVMPortable:
		return fmt.Errorf("%w in %s: %s", ErrEVMValue, f.Xattr, v)
	case f.Over == Content && v.Type == TypeVerity:
		return fmt.Errorf("%w: over an fs-verity digest, not over the digest of the content", errVerity)
	case f.Over == Verity:
		return fmt.Errorf("%w: %s is not over an fs-verity digest", errIMAValue, v)
	}
	return fmt.Errorf("%w in %s: %s", errIMAValue, f.Xattr, v)
}

// Shared returns, in ascending order, the key ids that belong to more than one key of the
// ring. The kernel looks up a key only by its id and tries only the first key that it
// finds (request_asymmetric_key in security/integrity/digsig_asymmetric.c). The order is
// not defined, so the kernel may refuse the signatures of either key.
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

// CheckApart returns an error if one key is trusted for two purposes, in k for security.ima
// or in evm for security.evm, even if two certificates state them. What the key signs for one
// purpose may pass for the other; see [Purpose]. A key that is [Unstated] is for version 2 in
// the xattr of its ring. Keys that are [ForAny] are accepted. evm may be nil.
//
// The error wraps [ErrBothXattrs] if both purposes are version 2, otherwise [ErrPurpose].
func (k *Keyring) CheckApart(evm *Keyring) error {
	uses := k.uses(ForV2)
	if evm != nil {
		uses = append(uses, evm.uses(ForEVM)...)
	}
	for i, one := range uses {
		for _, two := range uses[:i] { // the same key may have several ids
			if one.purpose == two.purpose || !one.key.Equal(two.key) {
				continue
			}
			if one.purpose == ForV3 || two.purpose == ForV3 {
				return fmt.Errorf("%w: key %s is trusted for %s and for %s, but a signature of one kind may pass for one of the other", ErrPurpose, two.key.id, two.purpose, one.purpose)
			}
			return fmt.Errorf("%w: key %s is trusted for version 2 signatures in security.ima and in security.evm, but they do not cover which of the two they are", ErrBothXattrs, two.key.id)
		}
	}
	return nil
}

// use is a key of a ring, and what it is for.
type use struct {
	key     *PublicKey
	purpose Purpose
}

// uses returns the keys of the ring that have one purpose. unstated is that of the others.
func (k *Keyring) uses(unstated Purpose) (list []use) {
	for _, id := range slices.Sorted(maps.Keys(k.keys)) {
		for _, key := range k.keys[id] {
			switch key.purpose {
			case ForAny:
			case Unstated:
				list = append(list, use{key, unstated})
			default:
				list = append(list, use{key, key.purpose})
			}
		}
	}
	return list
}

// Equal reports whether p and o are the same key. Their certificates may differ.
func (p *PublicKey) Equal(o *PublicKey) bool {
	key, ok := p.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(o.key)
}

// verifyHashOnly always returns an error, which says whether the digest matches.
func verifyHashOnly(v *Value, digest []byte) error {
	if err := checkDigest(v.Hash, digest); err != nil {
		return err
	}
	if !bytes.Equal(v.Digest[:v.Hash.Size()], digest) {
		return fmt.Errorf("%w: recorded %s %x, the content has %x", ErrDigestMismatch, v.Hash, v.Digest, digest)
	}
	return fmt.Errorf("%w: the %s digest matches, but is not signed", ErrHashOnly, v.Hash)
}

// verify checks a signature with each key that has the value's key id.
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
		err := key.checkPurpose(s.Form)
		if err == nil {
			err = key.Verify(s, v.Signature)
		}
		if err == nil {
			return key, nil
		}
		// A digest mismatch proves that this key made the signature. That says more
		// than the refusals of other keys with the same id.
		if refused == nil || errors.Is(err, ErrDigestMismatch) {
			refused = err
		}
	}
	return nil, refused
}

// checkDigest checks that a digest has the size of its hash.
func checkDigest(h HashID, digest []byte) error {
	if !h.known() {
		return fmt.Errorf("%w: id %d", ErrUnknownHash, uint8(h))
	}
	if len(digest) != h.Size() {
		return fmt.Errorf("%w: %d bytes given, %s has %d", ErrDigestSize, len(digest), h, h.Size())
	}
	return nil
}
