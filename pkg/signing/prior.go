package signing

import (
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Replaced says what a new value takes the place of.
type Replaced uint8

// What a Record replaces.
const (
	Nothing   Replaced = iota // no value at all, or a digest that nobody signed
	OtherHash                 // this key's signature, or a digest, over another hash
	Stale                     // this key's signature of other content
	MaybeOurs                 // the same for an ECDSA key, of which only the key id tells
	NotOurs                   // what only Options.Force replaces
)

// prior is what an entry's security.ima means for a plan.
type prior struct {
	unchanged bool     // it is what the plan would attach
	replaced  Replaced // what it is otherwise
	refusal   error    // why it takes force to replace it; wraps ErrOtherKey or ErrNotOurs
}

// compare looks at the security.ima value that an entry has. Replaced without
// force is only what cannot be somebody else's signature: nothing, a digest, or a
// version 2 signature of this plan's own key.
func (e *Engine) compare(old []byte, j *job) prior {
	switch {
	case len(old) == 0:
		return prior{}
	case isDigest(old):
		return compareDigest(old, j)
	case e.public == nil: // a dry run that has no key to compare with
		return prior{}
	}
	v, err := ima.Parse(old)
	if err != nil {
		return unreadable(old, err)
	}
	if v.KeyID == e.from && contentSignature(&v) && e.from != 0 {
		return prior{}
	}
	if err := ownForm(&v, e.public); err != nil {
		return prior{refusal: err}
	}
	return e.compareOwn(&v, j)
}

// compareOwn looks at a signature that carries this plan's key id.
func (e *Engine) compareOwn(v *ima.Value, j *job) prior {
	if h, ok := v.Hash.CryptoHash(); ok && v.Hash == j.Hash && e.public.Verify(h, j.Digest, v.Signature) == nil {
		return prior{unchanged: !j.HashOnly, replaced: Stale}
	}
	return madeBy(e.public, v, j.Hash)
}

// isDigest reports whether the value is a digest, well-formed or not: the kernel
// never takes these types for a signature.
func isDigest(value []byte) bool {
	t := ima.Type(value[0])
	return t == ima.TypeDigest || t == ima.TypeDigestNG
}

func compareDigest(old []byte, j *job) prior {
	if j.HashOnly && string(old) == string(ima.DigestValue(j.Hash, j.Digest)) {
		return prior{unchanged: true}
	}
	if v, err := ima.Parse(old); err == nil && j.HashOnly && v.Hash != j.Hash {
		return prior{replaced: OtherHash}
	}
	return prior{}
}

// contentSignature reports whether v is of the kind that this program makes.
func contentSignature(v *ima.Value) bool { return v.Type == ima.TypeSignature && v.Version == 2 }

// ownForm refuses what is no content signature under the key's id. Version 1 has no
// such id: it is nothing that this program ever made.
func ownForm(v *ima.Value, key *ima.PublicKey) error {
	switch {
	case v.IsSignature() && (v.Version == 1 || v.KeyID != key.ID()):
		return fmt.Errorf("%w (%s)", ErrOtherKey, v)
	case !contentSignature(v):
		return fmt.Errorf("%w (%s)", ErrNotOurs, v)
	}
	return nil
}

// madeBy tells a signature of key, over other content or with another hash than h,
// from one of another key that has the same id.
func madeBy(key *ima.PublicKey, v *ima.Value, h ima.HashID) prior {
	made, certain := key.Made(v.Signature)
	switch {
	case !made:
		return prior{refusal: fmt.Errorf("%w, of the same key id, or damaged (%s)", ErrOtherKey, v)}
	case v.Hash != h:
		return prior{replaced: OtherHash}
	case !certain:
		return prior{replaced: MaybeOurs}
	}
	return prior{replaced: Stale}
}

func unreadable(value []byte, err error) prior {
	return prior{refusal: fmt.Errorf("%w (%d bytes: %w)", ErrNotOurs, len(value), err)}
}

// refuse says of a value that it is not replaced, and what replaces it.
func (e *Engine) refuse(path string, why error) error {
	if e.from != 0 {
		return fmt.Errorf("%s: %w: --force without --from-key-id replaces it", path, why)
	}
	return fmt.Errorf("%s: %w: --force replaces it", path, why)
}
