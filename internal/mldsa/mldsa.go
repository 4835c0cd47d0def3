// Package mldsa makes and verifies ML-DSA signatures (FIPS 204), and reads and writes ML-DSA
// keys and certificates (RFC 9881), which the standard library does not know yet.
//
// Signatures are pure, have an empty context, and are deterministic: the same key and
// message give the same bytes. Such signatures are what Linux verifies from 7.2 on.
//
// The arithmetic is that of CIRCL. Package ima defines what is signed.
package mldsa

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// Names returns the names of the parameter sets.
func Names() []string { return []string{"mldsa44", "mldsa65", "mldsa87"} }

// scheme returns the parameter set of a name, nil if there is none.
func scheme(name string) sign.Scheme {
	switch name {
	case "mldsa44":
		return mldsa44.Scheme()
	case "mldsa65":
		return mldsa65.Scheme()
	case "mldsa87":
		return mldsa87.Scheme()
	}
	return nil
}

// PublicKey is an ML-DSA public key. It implements ima.MessageKey.
type PublicKey struct {
	name string
	key  sign.PublicKey
	bits []byte
}

// NewPublicKey returns the public key of the parameter set name, such as "mldsa65". bits are
// its encoding by FIPS 204, algorithm 22, which a certificate has in a BIT STRING.
func NewPublicKey(name string, bits []byte) (*PublicKey, error) {
	s := scheme(name)
	if s == nil {
		return nil, fmt.Errorf("no ML-DSA parameter set %q", name)
	}
	if len(bits) != s.PublicKeySize() {
		return nil, fmt.Errorf("a public key of %d bytes, %s has %d", len(bits), s.Name(), s.PublicKeySize())
	}
	key, err := s.UnmarshalBinaryPublicKey(bits)
	if err != nil {
		return nil, err
	}
	return &PublicKey{name, key, append([]byte(nil), bits...)}, nil
}

// Algorithm returns the parameter set, such as "mldsa65".
func (p *PublicKey) Algorithm() string { return p.name }

// Bytes returns the encoded key; see [NewPublicKey]. It must not be changed.
func (p *PublicKey) Bytes() []byte { return p.bits }

// SignatureSize returns the size of every signature in bytes.
func (p *PublicKey) SignatureSize() int { return p.key.Scheme().SignatureSize() }

// VerifyMessage reports whether signature is this key's pure signature of message with an
// empty context.
func (p *PublicKey) VerifyMessage(message, signature []byte) bool {
	return len(signature) == p.SignatureSize() && p.key.Scheme().Verify(p.key, message, signature, nil)
}

// Equal reports whether other is the same key.
func (p *PublicKey) Equal(other crypto.PublicKey) bool {
	o, ok := other.(*PublicKey)
	return ok && o != nil && p.name == o.name && string(p.bits) == string(o.bits)
}

// PrivateKey is an ML-DSA private key. It implements [crypto.Signer] and ima.RawSigner.
type PrivateKey struct {
	key    sign.PrivateKey
	seed   []byte // nil if only the expanded key is known
	public *PublicKey
}

// Generate makes a key of the parameter set name, such as "mldsa65", from 32 bytes of random.
func Generate(name string, random io.Reader) (*PrivateKey, error) {
	seed := make([]byte, seedSize)
	defer clear(seed)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("make an ML-DSA key: %w", err)
	}
	return fromSeed(name, seed)
}

const seedSize = 32

func fromSeed(name string, seed []byte) (*PrivateKey, error) {
	s := scheme(name)
	if s == nil {
		return nil, fmt.Errorf("no ML-DSA parameter set %q", name)
	}
	if len(seed) != seedSize {
		return nil, fmt.Errorf("a seed of %d bytes, ML-DSA has %d", len(seed), seedSize)
	}
	_, key := s.DeriveKey(seed)
	return fromKey(name, key, append([]byte(nil), seed...))
}

// fromKey computes the public key anew from what is secret, so that it does not depend on
// what an expanded key claims.
func fromKey(name string, key sign.PrivateKey, seed []byte) (*PrivateKey, error) {
	derived, ok := key.Public().(sign.PublicKey)
	if !ok {
		return nil, errors.New("the private key has no public key")
	}
	bits, err := derived.MarshalBinary()
	if err != nil {
		return nil, err
	}
	public, err := NewPublicKey(name, bits)
	if err != nil {
		return nil, err
	}
	return &PrivateKey{key, seed, public}, nil
}

// Public returns the *PublicKey.
func (k *PrivateKey) Public() crypto.PublicKey { return k.public }

// Equal reports whether other is the same key.
func (k *PrivateKey) Equal(other crypto.PrivateKey) bool {
	o, ok := other.(*PrivateKey)
	return ok && o != nil && k.public.Equal(o.public) && k.key.Equal(o.key)
}

// errPrehashed: ML-DSA signs messages, and HashML-DSA is not what Linux verifies.
var errPrehashed = errors.New("ML-DSA signs a message, not its digest")

// Sign returns the deterministic signature of message. opts must have hash 0, and the
// reader is not used.
func (k *PrivateKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, errPrehashed
	}
	if k.seed == nil {
		return k.signExpanded(message)
	}
	return k.key.Scheme().Sign(k.key, message, nil), nil
}

// signExpanded is for keys that were not derived here. CIRCL panics after 576 attempts to
// make a signature, which no key takes whose parts belong together.
func (k *PrivateKey) signExpanded(message []byte) (signature []byte, err error) {
	defer func() {
		if recover() != nil {
			signature, err = nil, errInconsistent
		}
	}()
	return k.key.Scheme().Sign(k.key, message, nil), nil
}

// SignRaw returns the deterministic signature of each message. The hash must be 0. It checks
// the context before each signature.
func (k *PrivateKey) SignRaw(ctx context.Context, h crypto.Hash, messages [][]byte) ([][]byte, error) {
	signatures := make([][]byte, len(messages))
	for i, message := range messages {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if signatures[i], err = k.Sign(nil, message, h); err != nil {
			return nil, err
		}
	}
	return signatures, nil
}

// Format prints the algorithm for every verb, so that no secret is ever printed.
func (k PrivateKey) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "private key ("+k.public.name+")")
}
