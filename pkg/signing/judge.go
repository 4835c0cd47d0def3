package signing

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// judge decides what happens to the stage's xattr of an entry. It does not sign. It
// returns a value, or a reason for leaving the xattr as it is, or neither if the stage
// does not apply to the entry.
func (s *stage) judge(e *Entry, before []Value, force bool) (value Value, c candidate, reason string, err error) {
	if c, err = s.candidate(e, before); err != nil || c.digest == nil {
		return value, c, "", err
	}
	old := e.Xattrs[s.Xattr]
	now := s.compare(old, &c)
	if second := e.Second[s.Xattr]; len(second) > 0 && !now.unchanged && now.refusal == nil {
		now.refusal = s.compare(second, &c).refusal
	}
	value = Value{Form: c.form, replaced: now.replaced}
	if now.refusal != nil && force {
		value.replaced = notOurs
	}
	switch {
	case now.unchanged:
		value.Status, value.Bytes = Unchanged, old
		if err = e.checkDoubleUse(c.form); err != nil {
			err = refuse(e.Path, fmt.Errorf("existing signature: %w", err))
		}
		return value, c, "", err
	case now.refusal != nil && !force:
		return value, c, "", refuse(e.Path, now.refusal)
	}
	// A value over metadata is signed again when security.ima is: it need not be of the old key.
	if s.key().From != 0 && (s.Digest == nil || len(old) == 0) {
		if reason, err = s.rotates(e.Path, old, &value, &c); reason != "" || err != nil {
			return value, c, reason, err
		}
	}
	switch {
	case !c.form.Signs():
		value.Status, value.Bytes = Hashed, ima.DigestValue(c.hash, c.digest)
	case c.hash.CheckSigns() != nil:
		return value, c, "", fmt.Errorf("%s: no signature is made over its digest: %w", e.Path, c.hash.CheckSigns())
	default:
		value.Status = Signed
		if err = e.checkDoubleUse(c.form); err != nil {
			err = refuse(e.Path, fmt.Errorf("not signed: %w", err))
		}
	}
	return value, c, "", err
}

// candidate returns the value that the stage would give an entry. It has no digest if the
// stage does not apply to the entry.
func (s *stage) candidate(e *Entry, before []Value) (c candidate, err error) {
	form, ok := s.Form(e, before)
	if !ok {
		return c, nil
	}
	c.form, c.signed = form, s.signed(e, before)
	if c.hash = s.Hash; form.Over != ima.Metadata && e.digest(c.hash, form.Over) == nil { // the container states another hash
		c.hash = e.first().Hash
	}
	c.was = s.was(e)
	c.digest, err = s.over(form, c.hash, e, before)
	if err == nil && form.Over == ima.Verity && c.digest == nil {
		err = errors.New("the container states no fs-verity digest")
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", e.Path, err)
	}
	return c, nil
}

// was returns candidate.was of an entry.
func (s *stage) was(e *Entry) func(ima.Form, ima.HashID) []byte {
	return func(f ima.Form, h ima.HashID) []byte {
		digest, err := s.over(f, h, e, nil)
		if err != nil {
			return nil
		}
		return digest
	}
}

// signed returns the form of the stage's signatures, even for a HashOnly entry.
func (s *stage) signed(e *Entry, before []Value) ima.Form {
	signing := *e
	signing.HashOnly = false
	f, _ := s.Form(&signing, before)
	return f
}

// rotates decides in a rotation whether an entry's value is replaced: only signatures of
// the old key (Key.From) are. It returns "" if so, or the reason why the entry keeps its
// value. A damaged value is an error, because its key is unknown.
func (s *stage) rotates(path string, old []byte, value *Value, c *candidate) (reason string, err error) {
	from := s.key().From
	v, err := ima.Parse(old)
	switch {
	case len(old) == 0:
		return "it has no signature to replace", nil
	case err != nil:
		return "", fmt.Errorf("%s: replace signatures of key %s: %w", path, from, err)
	case !v.IsSignature():
		return "it has a digest and no signature to replace", nil
	case value.replaced == otherVersion:
		return "", fmt.Errorf("%s: replace signatures of key %s: it has a version %d signature of key %s instead of version %d", path, from, v.Version, v.KeyID, c.signed.Version)
	case value.replaced == otherHash:
		return "", fmt.Errorf("%s: replace signatures of key %s: it has a signature of key %s over %s instead of %s", path, from, v.KeyID, v.Hash, c.hash)
	case v.KeyID != from: // this key's, or any other key's if this key is not known
		return "", fmt.Errorf("%s: replace signatures of key %s: %w: the signature of key %s is not valid", path, from, ima.ErrBadSignature, v.KeyID)
	}
	return "", nil
}

// lacking reports whether a planned signature is never made. That is so in a dry run
// without a key, and in a plan that has failed.
func lacking(values []Value) bool {
	return slices.ContainsFunc(values, func(v Value) bool { return v.Status == Signed && v.Bytes == nil })
}

// planOnly plans a signature of the stage without its bytes: it would cover a signature
// that is never made. A value that only force replaces is an error.
func (d *decided) planOnly(s *stage, e *Entry, force bool) error {
	form, ok := s.Form(e, d.values)
	if !ok {
		return nil
	}
	now := s.compare(e.Xattrs[s.Xattr], &candidate{form: form, signed: form, hash: s.Hash, was: s.was(e)})
	if now.refusal != nil && !force {
		return refuse(e.Path, now.refusal)
	}
	d.values, d.slots = append(d.values, Value{Form: form, Status: Signed}), append(d.slots, nil)
	return nil
}
