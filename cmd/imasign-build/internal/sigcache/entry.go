// Package sigcache keeps signatures from one run to the next, in a SQLite database that
// many processes may use at once. It is a [signing.Cache]: nothing in it is trusted, so it
// need not be protected, and losing it costs only time.
//
// Package sigcache/shards writes and reads the files that a cache is shared as, and package
// sigcache/mirror fetches them. pkg/signing verifies hits. The command line decides where a
// cache is and when it is used.
package sigcache

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Entry is a signature, and what it is found by.
type Entry struct {
	Key       []byte // the public key: a SubjectPublicKeyInfo in DER
	Form      ima.Form
	Hash      ima.HashID
	Digest    []byte    // Hash.Size() bytes
	Signature []byte    // without a header
	Used      time.Time // the day of its last use, UTC; zero if not known
}

// KeyOf returns a public key as entries have it.
func KeyOf(public *ima.PublicKey) ([]byte, error) {
	der, err := mldsa.MarshalPKIXPublicKey(public.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key %s: %w", public.ID(), err)
	}
	return der, nil
}

// Public returns the public key of the entry.
func (e *Entry) Public() (*ima.PublicKey, error) {
	if key, err := x509.ParsePKIXPublicKey(e.Key); err == nil {
		return ima.BareKey(key)
	}
	key, err := mldsa.ParsePKIXPublicKey(e.Key)
	switch {
	case err != nil:
		return nil, err
	case key == nil:
		return nil, ima.ErrUnsupportedKey
	}
	return ima.BareKey(key)
}

// Address returns what entries are sorted by, and distributed to shards by: the SHA-256
// digest of everything but the signature and the day.
func (e *Entry) Address() [sha256.Size]byte {
	key := sha256.Sum256(e.Key)
	text := append([]byte("imasign-signature-1\x00"), key[:]...)
	text = binary.BigEndian.AppendUint16(text, uint16(len(e.Form.Xattr)))
	text = append(text, e.Form.Xattr...)
	text = append(text, byte(e.Form.Type), e.Form.Version, byte(e.Form.Over), byte(e.Hash))
	return sha256.Sum256(append(text, e.Digest...))
}

// Verify returns an error unless the signature is valid. It does not consider what the key is
// for.
func (e *Entry) Verify() error {
	public, err := e.Public()
	if err != nil {
		return err
	}
	return public.Verify(ima.Statement{Form: e.Form, Hash: e.Hash, Digest: e.Digest}, e.Signature)
}
