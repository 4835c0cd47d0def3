package p256

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/imasign/imasign-build/pkg/ima"
)

// ErrVerify means that a signature just made does not verify with the public key
// that it has to: the certificate's.
var ErrVerify = errors.New("the signature does not verify with the certificate's public key")

// ErrCurve means that a key is not one on P-256.
var ErrCurve = errors.New("not a P-256 key")

// ErrClosed means that a signer was used after Close.
var ErrClosed = errors.New("the key is closed")

// Signer makes ASN.1 DER signatures and verifies each. It is safe for concurrent use,
// and signs until Close.
type Signer struct {
	private atomic.Pointer[ecdsa.PrivateKey] // nil once closed
	public  *ecdsa.PublicKey
	table   func() (*multiples, error)
}

// NewSigner returns a signer with private whose signatures are verified with public:
// the certificate's key. The error is [ErrCurve].
func NewSigner(private *ecdsa.PrivateKey, public *ecdsa.PublicKey) (*Signer, error) {
	if private.Curve != elliptic.P256() || public.Curve != elliptic.P256() {
		return nil, ErrCurve
	}
	s := &Signer{public: public, table: sync.OnceValues(func() (*multiples, error) { return newMultiples(public) })}
	s.private.Store(private)
	return s, nil
}

// Close lets go of the private key, which Go's runtime clears when it uses the memory
// again.
func (s *Signer) Close() error {
	s.private.Store(nil)
	return nil
}

// VerifiesWith reports whether SignRaw verifies with exactly this public key.
func (s *Signer) VerifiesWith(public crypto.PublicKey) bool { return s.public.Equal(public) }

// SignRaw returns one signature a digest, the same at every call, verified already. The
// context is obeyed between signatures. Errors wrap [ErrVerify], [ErrClosed] or those of
// [ima.CheckDigests], or are crypto/ecdsa's.
func (s *Signer) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	private := s.private.Load()
	if private == nil {
		return nil, fmt.Errorf("p256: %w", ErrClosed)
	}
	if err := ima.CheckDigests(h, digests); err != nil {
		return nil, fmt.Errorf("p256: %w", err)
	}
	table, err := s.table()
	if err != nil {
		return nil, err
	}
	signatures := make([][]byte, len(digests))
	for i, digest := range digests {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if signatures[i], err = private.Sign(nil, digest, h); err != nil {
			return nil, fmt.Errorf("p256: sign: %w", err)
		}
	}
	if !table.verify(digests, signatures) {
		return nil, fmt.Errorf("p256: %w", ErrVerify)
	}
	return signatures, nil
}
