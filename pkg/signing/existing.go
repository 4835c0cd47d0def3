package signing

import (
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
)

// replacing is the kind of value that a new value replaces.
type replacing uint8

const (
	nothing      replacing = iota // no value, or a digest without a signature
	otherVersion                  // this key's signature of another version
	otherHash                     // this key's signature, or a digest, over another hash
	stale                         // this key's signature of other content
	maybeOurs                     // an ECDSA or ML-DSA signature of other content that has this key's id
	notOurs                       // a value that only Options.Force replaces
)

// candidate is the value that a stage would give an entry, before the value is made.
type candidate struct {
	form   ima.Form
	signed ima.Form // the form of the stage's signatures; form, unless that is a digest
	hash   ima.HashID
	digest []byte
	// was returns the digest by h, for values of form f, of the entry as it is, nil if it is
	// not known. A valid signature that the entry has is over it.
	was func(f ima.Form, h ima.HashID) []byte
}

// prior describes the value that an xattr has before the run.
type prior struct {
	unchanged bool      // it is the value that the plan would attach
	replaced  replacing // its kind, if it is not
	refusal   error     // why only Options.Force replaces it; wraps ErrOtherKey or ErrNotOurs
}

// compare judges the value that an entry has. A value is replaced without force only if
// it cannot be a signature by somebody else: it is empty, a digest, or a signature of the
// same type by this stage's key, or of fs-verity in place of the content or the reverse.
func (s *stage) compare(old []byte, c *candidate) prior {
	key := s.key()
	switch {
	case len(old) == 0:
		return prior{}
	case s.Xattr == ima.XattrIMA && isDigest(old):
		return c.compareDigest(old)
	case key.Public == nil: // a dry run without a key
		return prior{}
	}
	v, err := ima.Parse(old)
	if err != nil {
		return c.unreadable(old, err)
	}
	if key.From != 0 && v.KeyID == key.From && c.replaces(&v) {
		return prior{}
	}
	if err := c.ownForm(&v, key.Public); err != nil {
		return prior{refusal: err}
	}
	return c.compareOwn(&v, key.Public)
}

// compareOwn judges a signature that has the key id of key.
func (c *candidate) compareOwn(v *ima.Value, key *ima.PublicKey) prior {
	if ofForm(v, c.signed) && v.Hash == c.hash && key.Verify(ima.Statement{Form: c.signed, Hash: c.hash, Digest: c.digest}, v.Signature) == nil {
		return prior{unchanged: c.form.Signs(), replaced: stale}
	}
	return c.madeBy(key, v)
}

// isDigest reports whether a security.ima value has the type of a digest, well-formed or
// not. The kernel never takes these types for a signature.
func isDigest(value []byte) bool {
	t := ima.Type(value[0])
	return t == ima.TypeDigest || t == ima.TypeDigestNG
}

func (c *candidate) compareDigest(old []byte) prior {
	if c.form.Signs() {
		return prior{}
	}
	if string(old) == string(ima.DigestValue(c.hash, c.digest)) {
		return prior{unchanged: true}
	}
	if v, err := ima.Parse(old); err == nil && v.Hash != c.hash {
		return prior{replaced: otherHash}
	}
	return prior{}
}

// ofForm reports whether a value has the type and version of a form.
func ofForm(v *ima.Value, f ima.Form) bool { return v.Type == f.Type && v.Version == f.Version }

// replaces reports whether the stage's signatures are of the value's type, or both are
// signatures for security.ima, of the content or of fs-verity.
func (c *candidate) replaces(v *ima.Value) bool {
	other := map[ima.Type]ima.Type{ima.TypeSignature: ima.TypeVerity, ima.TypeVerity: ima.TypeSignature}
	return v.Type == c.signed.Type || c.signed.Xattr == ima.XattrIMA && v.IsSignature() && v.Type == other[c.signed.Type]
}

// ownForm returns an error unless v is a signature of such a type with the key id of key.
// Version 1 signatures have another kind of key id, and this program never made one.
func (c *candidate) ownForm(v *ima.Value, key *ima.PublicKey) error {
	switch {
	case v.IsSignature() && (v.Version == 1 || v.KeyID != key.ID()):
		return fmt.Errorf("%w (%s)", ErrOtherKey, v)
	case !c.replaces(v):
		return fmt.Errorf("its %s %w (%s)", c.signed.Xattr, ErrNotOurs, v)
	}
	return nil
}

// madeBy distinguishes a signature by key, over other content, another hash or in another
// form than the candidate, from a signature by another key that has the same id.
func (c *candidate) madeBy(key *ima.PublicKey, v *ima.Value) prior {
	made, certain := key.Made(v.Signature)
	certain = certain || made && c.valid(key, v)
	other := !ofForm(v, c.signed)
	switch {
	case !made:
		return prior{refusal: fmt.Errorf("%w, of the same key id, or damaged (%s)", ErrOtherKey, v)}
	case other && !certain:
		return prior{refusal: fmt.Errorf("its %s %w (%s)", c.signed.Xattr, ErrNotOurs, v)}
	case other && v.Version == 3 && key.Purpose() == ima.Unstated:
		return prior{refusal: fmt.Errorf("%w: its %s %w (%s)", ima.ErrPurpose, c.signed.Xattr, ErrSignedV3, v)}
	case v.Version != c.signed.Version:
		return prior{replaced: otherVersion}
	case v.Hash != c.hash:
		return prior{replaced: otherHash}
	case !certain:
		return prior{replaced: maybeOurs}
	}
	return prior{replaced: stale}
}

// valid reports whether a signature that the entry has is valid by key, for the entry as it
// is. security.ima may be about to change, so the candidate's digest for security.evm may be
// another one.
func (c *candidate) valid(key *ima.PublicKey, v *ima.Value) bool {
	return key.Verify(c.stated(v), v.Signature) == nil
}

// stated returns what a valid signature that the entry has states. It has no digest if that
// is not known.
func (c *candidate) stated(v *ima.Value) ima.Statement {
	form := v.Form(c.signed.Xattr)
	return ima.Statement{Form: form, Hash: v.Hash, Digest: c.was(form, v.Hash)}
}

func (c *candidate) unreadable(value []byte, err error) prior {
	return prior{refusal: fmt.Errorf("its %s %w (%d bytes: %w)", c.signed.Xattr, ErrNotOurs, len(value), err)}
}

func refuse(path string, why error) error { return fmt.Errorf("%s: %w", path, why) }

// second returns an error if a further name of a hard link has its own value that must
// not be replaced. In an archive, each name of a hard link can have its own value.
func (e *Engine) second(v *visit[decision], compare func(*stage, []byte, *candidate) prior) error {
	s := e.stage(ima.XattrIMA)
	old := v.Second[ima.XattrIMA]
	if len(old) == 0 || e.force || s == nil || v.result == nil {
		return nil
	}
	for _, value := range v.result.values {
		if value.Form.Xattr != ima.XattrIMA || !value.Status.changes() {
			continue
		}
		c, err := s.candidate(&v.Entry, nil)
		if err != nil {
			return err
		}
		if why := compare(s, old, &c).refusal; why != nil {
			return refuse(v.Path, why)
		}
	}
	return nil
}
