package signing

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Key signs the values of a stage.
type Key struct {
	// Signer makes the signatures. Without one (nil) plans state what would be signed.
	Signer ima.Signer
	// Public is what the signatures are checked with, and what the kernel will check
	// them with. Without it every signature that is found counts as replaceable.
	Public *ima.PublicKey
	// Workers is how many batches are signed at a time; zero stands for one a core.
	Workers int
	// From, unless it is zero, makes Plan a rotation: signatures of the key with this
	// id, and nothing else, are replaced. What has no signature stays so. Whether the
	// old signatures are valid is not checked, because that takes the old certificate:
	// verify with it first.
	From ima.KeyID
}

// Stage decides about one xattr of each entry. The stages of an Engine run in their
// order: the digest of a later one may cover the values of those before it.
type Stage struct {
	Xattr string // its name, as [ima.XattrIMA]
	Key   *Key   // nil for none
	// Hash is the algorithm of digests that the container does not state; zero stands
	// for SHA-256.
	Hash ima.HashID
	// Form chooses what becomes of an entry; ok is false where the stage has nothing to
	// say, and the entry keeps what it has.
	Form func(*Entry) (form ima.Form, ok bool)
	// Digest returns what forms over something else than the content are made of, from
	// the entry and the values of the stages before. nil for stages over the content.
	Digest func(h ima.HashID, e *Entry, before []Value) ([]byte, error)
}

// ContentStage returns the stage of security.ima: a version 2 signature by key over the
// digest of the content, or the digest itself for entries that are HashOnly.
func ContentStage(key *Key, h ima.HashID) Stage {
	return Stage{Xattr: ima.XattrIMA, Key: key, Hash: h, Form: func(e *Entry) (ima.Form, bool) {
		if e.HashOnly {
			return ima.ContentDigest(), true
		}
		return ima.ContentSignature(), true
	}}
}

// stage is a Stage that was checked, with the queue of its key.
type stage struct {
	Stage

	queue *queue // nil without a Signer
}

// key returns the stage's key, an empty one where there is none.
func (s *stage) key() *Key {
	if s.Key == nil {
		return &Key{}
	}
	return s.Key
}

func (s *stage) check(force bool) error {
	key := s.key()
	if s.Hash == 0 {
		s.Hash = ima.SHA256
	}
	if key.Signer != nil && key.Public == nil {
		return errors.New("a signer without the public key that its signatures are checked with")
	}
	if !computable(s.Hash) {
		return fmt.Errorf("%s: %w: this program can name it, but not compute it", s.Hash, ima.ErrUnsupportedHash)
	}
	if err := s.Hash.CheckSigns(); key.Signer != nil && err != nil {
		return err
	}
	switch {
	case key.From != 0 && force:
		return errors.New("signatures of one key, or of any, are to be replaced: not both")
	case key.From != 0 && key.Public != nil && key.Public.ID() == key.From:
		return fmt.Errorf("the key to be replaced, %s, is the one that signs", key.From)
	}
	return nil
}

// over is the one place that knows what a form's digest is of, for planning, comparing,
// applying and verifying. It returns nil where the container states no digest by h.
func (s *stage) over(f ima.Form, h ima.HashID, e *Entry, before []Value) ([]byte, error) {
	if s.Digest != nil && f.Over != ima.Content {
		return s.Digest(h, e, before)
	}
	return e.digest(h), nil
}

// hashes returns the algorithms that contents are digested with, in order.
func (e *Engine) hashes() (ids []ima.HashID) {
	for _, s := range e.stages {
		if !slices.Contains(ids, s.Hash) && (s.Digest == nil || len(ids) == 0) {
			ids = append(ids, s.Hash)
		}
	}
	return ids
}
