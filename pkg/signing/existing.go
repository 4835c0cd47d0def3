package signing

import (
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
)

// replacing says what a new value takes the place of.
type replacing uint8

const (
	nothing   replacing = iota // no value at all, or a digest that nobody signed
	otherHash                  // this key's signature, or a digest, over another hash
	stale                      // this key's signature of other content
	maybeOurs                  // the same for an ECDSA key, of which only the key id tells
	notOurs                    // what only Options.Force replaces
)

// candidate is the value that a stage would give an entry, before it is made.
type candidate struct {
	form   ima.Form
	signed ima.Form // the form of the stage's signatures, where form is none
	hash   ima.HashID
	digest []byte
}

// prior is what the value of an xattr means for a plan.
type prior struct {
	unchanged bool      // it is what the plan would attach
	replaced  replacing // what it is otherwise
	refusal   error     // why it takes force to replace it; wraps ErrOtherKey or ErrNotOurs
}

// compare judges the value that an entry has. Replaced without force is only what
// cannot be somebody else's signature: nothing, a digest, or a signature of the same
// form by this stage's own key.
func (s *stage) compare(old []byte, c *candidate) prior {
	key := s.key()
	switch {
	case len(old) == 0:
		return prior{}
	case s.Xattr == ima.XattrIMA && isDigest(old):
		return c.compareDigest(old)
	case key.Public == nil: // a dry run that has no key to compare with
		return prior{}
	}
	v, err := ima.Parse(old)
	if err != nil {
		return c.unreadable(old, err)
	}
	if key.From != 0 && v.KeyID == key.From && ofForm(&v, c.signed) {
		return prior{}
	}
	if err := c.ownForm(&v, key.Public); err != nil {
		return prior{refusal: err}
	}
	return c.compareOwn(&v, key.Public)
}

// compareOwn judges a signature that carries this plan's key id.
func (c *candidate) compareOwn(v *ima.Value, key *ima.PublicKey) prior {
	if v.Hash == c.hash && key.Verify(ima.Statement{Form: c.signed, Hash: c.hash, Digest: c.digest}, v.Signature) == nil {
		return prior{unchanged: c.form.Signs(), replaced: stale}
	}
	return madeBy(key, v, c.hash)
}

// isDigest reports whether a security.ima is a digest, well-formed or not: the kernel
// never takes these types for a signature.
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

// ownForm refuses what is no signature of the stage's form under the key's id. Version 1
// has no such id, and nothing that this program ever made has that version.
func (c *candidate) ownForm(v *ima.Value, key *ima.PublicKey) error {
	switch {
	case v.IsSignature() && (v.Version == 1 || v.KeyID != key.ID()):
		return fmt.Errorf("%w (%s)", ErrOtherKey, v)
	case !ofForm(v, c.signed):
		return fmt.Errorf("its %s %w (%s)", c.signed.Xattr, ErrNotOurs, v)
	}
	return nil
}

// ofForm reports whether a value has the type and version of a form.
func ofForm(v *ima.Value, f ima.Form) bool { return v.Type == f.Type && v.Version == f.Version }

// madeBy tells a signature of key, over other content or with another hash than h,
// from one of another key that has the same id.
func madeBy(key *ima.PublicKey, v *ima.Value, h ima.HashID) prior {
	made, certain := key.Made(v.Signature)
	switch {
	case !made:
		return prior{refusal: fmt.Errorf("%w, of the same key id, or damaged (%s)", ErrOtherKey, v)}
	case v.Hash != h:
		return prior{replaced: otherHash}
	case !certain:
		return prior{replaced: maybeOurs}
	}
	return prior{replaced: stale}
}

func (c *candidate) unreadable(value []byte, err error) prior {
	return prior{refusal: fmt.Errorf("its %s %w (%d bytes: %w)", c.signed.Xattr, ErrNotOurs, len(value), err)}
}

// refuse says of a value that it is not replaced.
func refuse(path string, why error) error { return fmt.Errorf("%s: %w", path, why) }

// second refuses to replace a value that a further name of a hard link has of its own,
// as entries of archives can.
func (e *Engine) second(v *visit[decision], compare func(*stage, []byte, *candidate) prior) error {
	s := e.stage(ima.XattrIMA)
	if len(v.Second) == 0 || e.force || s == nil || v.result == nil {
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
		if why := compare(s, v.Second, &c).refusal; why != nil {
			return refuse(v.Path, why)
		}
	}
	return nil
}
