package signing

import (
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/fsverity"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// verityDigest computes fs-verity digests. It keeps its buffers for the next file, which
// nearly always has the same parameters.
type verityDigest struct {
	digest *fsverity.Digest
	hash   ima.HashID
	params manifest.Verity
}

// reset returns the state for another file. Errors are about the parameters.
func (v *verityDigest) reset(h ima.HashID, params *manifest.Verity) (*fsverity.Digest, error) {
	if v.digest != nil && v.hash == h && v.params.Equal(*params) {
		v.digest.Reset()
		return v.digest, nil
	}
	if err := checkVerityHash(h); err != nil {
		return nil, err
	}
	std, _ := h.CryptoHash()
	digest, err := fsverity.New(fsverity.Parameters{Hash: std, BlockSize: params.BlockSize, Salt: params.Salt})
	if err != nil {
		return nil, err
	}
	*v = verityDigest{digest, h, *params}
	return digest, nil
}

// checkVerityHash returns an error that wraps [ima.ErrUnsupportedHash] for a hash that fs-verity
// does not have.
func checkVerityHash(h ima.HashID) error {
	if h != ima.SHA256 && h != ima.SHA512 {
		return fmt.Errorf("%w: %s, fs-verity has only sha256 and sha512", ima.ErrUnsupportedHash, h)
	}
	return nil
}

// statedDigest returns the digest that a line of a manifest states.
func statedDigest(l *manifest.Line) Digest { return Digest{l.Hash, l.Digest, l.Verity} }

// otherDigest returns the error about an entry whose container states another digest than
// the manifest.
func otherDigest(e *Entry, l *manifest.Line) error {
	name := func(d Digest) string {
		if d.Verity != nil {
			return d.Hash.String() + " fs-verity"
		}
		return d.Hash.String()
	}
	return fmt.Errorf("it has a %s digest, but the manifest states a %s digest", name(e.first()), name(statedDigest(l)))
}

// parameters returns those of a file's fs-verity digest. The manifest's line, if it states
// any, has precedence.
func (t *Trust) parameters(line *manifest.Line) *manifest.Verity {
	switch {
	case line.Verity != nil:
		return line.Verity
	case t.Verity != nil:
		return t.Verity
	}
	v := manifest.DefaultVerity()
	return &v
}

// withVerity returns the form that a value of security.ima is verified as: if it is over the
// entry's fs-verity digest, which is known, that form, and otherwise the stage's form.
func withVerity(stage ima.Form, v *ima.Value, e *Entry) ima.Form {
	if stage.Xattr == ima.XattrIMA && v.Type == ima.TypeVerity && v.Version == 3 && e.digest(v.Hash, ima.Verity) != nil {
		return ima.VeritySignature()
	}
	return stage
}

// assumed adds the parameters to the error about a signature over an fs-verity digest. With
// other parameters it may be valid.
func assumed(e *Entry, f ima.Form, err error) error {
	if f.Over != ima.Verity || !errors.Is(err, ima.ErrBadSignature) && !errors.Is(err, ima.ErrDigestMismatch) {
		return err
	}
	for _, d := range e.Digests {
		if d.Verity != nil {
			return fmt.Errorf("%w (for %s)", err, d.Verity)
		}
	}
	return err
}

// wanted returns the digests to compute of an open entry. The first ones are signed: that of
// fs-verity if the entry asks for it, otherwise those of the content by hashes. A signature
// that the entry has may be over the other kind, whose digest then tells whether it is valid.
func (e *Entry) wanted(hashes []ima.HashID) (list []Digest) {
	verity := e.Verity
	if e.HashOnly {
		verity = nil
	}
	for _, h := range hashes {
		list = append(list, Digest{Hash: h, Verity: verity})
		if verity != nil {
			break
		}
	}
	old, err := ima.Parse(e.Xattrs[ima.XattrIMA])
	switch {
	case err != nil || !old.IsSignature():
	case verity != nil && old.Type == ima.TypeSignature && computable(old.Hash):
		list = append(list, Digest{Hash: old.Hash})
	case verity == nil && old.Type == ima.TypeVerity && checkVerityHash(old.Hash) == nil:
		params := manifest.DefaultVerity()
		list = append(list, Digest{Hash: old.Hash, Verity: &params})
	}
	return list
}
