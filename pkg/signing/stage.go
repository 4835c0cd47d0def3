package signing

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Key signs the values of a stage.
type Key struct {
	// Signer makes the signatures. If it is nil, plans only state what would be signed.
	Signer ima.Signer
	// Public is the key that new signatures are verified with, and later the kernel's. If
	// it is nil, every signature that a file has counts as replaceable.
	Public *ima.PublicKey
	// Workers is the number of batches that are signed at the same time. Zero means one
	// per core.
	Workers int
	// Batch is the number of digests that Signer gets at a time. Zero means 128.
	Batch int
	// Whole says that Signer takes about as long for a batch as for one digest, as a key of
	// another machine does. Batches are then made as large as the waiting plans allow, and not
	// divided among the Workers.
	Whole bool
	// Caches are asked for a signature, one after the other, before Signer is. They store the
	// signatures that it makes.
	Caches []Cache
	// From, unless it is zero, makes Plan a rotation: it replaces only signatures of the
	// key with this id. Unsigned files stay unsigned. The old signatures are not verified,
	// because that takes the old certificate. Verify them first.
	From ima.KeyID
}

// Stage decides about one xattr of each entry. The stages of an Engine run in order,
// because a digest of one stage may cover the values of earlier stages.
type Stage struct {
	Xattr string // the name of the xattr, such as [ima.XattrIMA]
	Key   *Key   // nil for none
	// Hash is the algorithm of the digests that the Engine computes. Zero means SHA-256. If
	// a container states digests, but none by Hash, its first digest is used.
	Hash ima.HashID
	// Form chooses the form of an entry's value. It may use the entry and the values of the
	// stages before, whose signatures may still be missing. If ok is false, the stage does
	// not apply to the entry, whose xattr stays as it is.
	Form func(e *Entry, before []Value) (form ima.Form, ok bool)
	// Digest returns the digest by h for forms that are not over the content. It may use
	// the entry and the values of the stages before. It is nil for stages over the content.
	Digest func(h ima.HashID, e *Entry, before []Value) ([]byte, error)

	// explain, unless nil, says why a signature is not valid, if it can find out. signed
	// reports whether the signature is over a digest.
	explain func(h ima.HashID, e *Entry, before []Value, signed func(digest []byte) bool) string
}

// ContentStage returns the stage for security.ima. Its value is a version 2 signature by
// key over the digest of the content, or the digest itself for a HashOnly entry, or a
// version 3 signature over the fs-verity digest for a Verity entry. h is the stage's Hash.
func ContentStage(key *Key, h ima.HashID) Stage {
	return Stage{Xattr: ima.XattrIMA, Key: key, Hash: h, Form: func(e *Entry, _ []Value) (ima.Form, bool) {
		switch {
		case e.HashOnly:
			return ima.ContentDigest(), true
		case e.Verity != nil:
			return ima.VeritySignature(), true
		}
		return ima.ContentSignature(), true
	}}
}

// V3 returns the stage with version 3 signatures.
func (s Stage) V3() Stage {
	form := s.Form
	s.Form = func(e *Entry, before []Value) (ima.Form, bool) {
		f, ok := form(e, before)
		return f.V3(), ok
	}
	return s
}

// stage is a checked Stage with the queue of its key.
type stage struct {
	Stage

	queue *queue // nil without a Signer
}

// key returns the stage's key, or an empty Key if there is none.
func (s *stage) key() *Key {
	if s.Key == nil {
		return &Key{}
	}
	return s.Key
}

// named adds the xattr to an error about its value. Errors about security.ima do not name
// it.
func (s *stage) named(err error) error {
	if s.Xattr == ima.XattrIMA {
		return err
	}
	return fmt.Errorf("%s: %w", s.Xattr, err)
}

func (s *stage) check(force bool) error {
	key := s.key()
	if s.Hash == 0 {
		s.Hash = ima.SHA256
	}
	if key.Signer != nil && key.Public == nil {
		return errors.New("a signer without the public key to verify its signatures with")
	}
	if !computable(s.Hash) {
		return fmt.Errorf("%s: %w: this program cannot compute it", s.Hash, ima.ErrUnsupportedHash)
	}
	if err := s.Hash.CheckSigns(); key.Signer != nil && err != nil {
		return err
	}
	switch {
	case key.From != 0 && force:
		return errors.New("replace either the signatures of one key or those of any key, not both")
	case key.From != 0 && key.Public != nil && key.Public.ID() == key.From:
		return fmt.Errorf("the key to be replaced, %s, is the key that signs", key.From)
	}
	return nil
}

// over returns the digest that a value of form f is over, nil if the container states no
// digest by h. Planning, comparing, applying and verifying all use this function.
func (s *stage) over(f ima.Form, h ima.HashID, e *Entry, before []Value) ([]byte, error) {
	if s.Digest != nil && f.Over != ima.Content {
		return s.Digest(h, e, before)
	}
	return e.digest(h, f.Over), nil
}

// hashes returns the algorithms that contents are digested with, in the order of the
// stages.
func (e *Engine) hashes() (ids []ima.HashID) {
	for _, s := range e.stages {
		if !slices.Contains(ids, s.Hash) && (s.Digest == nil || len(ids) == 0) {
			ids = append(ids, s.Hash)
		}
	}
	return ids
}
