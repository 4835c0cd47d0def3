package libcrypto

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// RSA signs with a private key and verifies with a public one. It is safe for
// concurrent use and needs Close.
type RSA struct {
	*pool
	public *rsa.PublicKey
}

// NewRSA returns a signer that makes PKCS #1 v1.5 signatures with private and
// verifies each with public, the certificate's key. If the two do not belong
// together, NewRSA or every SignRaw fails with ErrVerify.
func (l *Library) NewRSA(private *rsa.PrivateKey, public *rsa.PublicKey) (*RSA, error) {
	// The private key determines the size of signatures, the public key that of their buffers.
	if private.Size() != public.Size() {
		return nil, fmt.Errorf("libcrypto: keys of %d and %d bytes: %w", private.Size(), public.Size(), ErrVerify)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("libcrypto: public key: %w", err)
	}
	der := x509.MarshalPKCS1PrivateKey(private)
	defer clear(der)
	k, err := l.newKey(der, spki)
	if err != nil {
		return nil, err
	}
	return &RSA{newPool(k, true), public}, nil
}

// VerifiesWith reports whether SignRaw verifies with exactly this public key.
func (r *RSA) VerifiesWith(public crypto.PublicKey) bool { return r.public.Equal(public) }

// SignRaw returns a verified signature for each digest, as long as the modulus. The
// hash is SHA-224, SHA-256, SHA-384, SHA-512 or SHA3-256 to -512.
func (r *RSA) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) (signatures [][]byte, err error) {
	if err := checkDigests(h, digests); err != nil {
		return nil, err
	}
	err = r.with(h, func(w *worker) error {
		for batch := range slices.Chunk(digests, batchSize) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if signatures, err = r.batch(w, batch, signatures); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return signatures, nil
}

// batch signs in one call, and splits the result into signatures.
func (r *RSA) batch(w *worker, digests, signatures [][]byte) ([][]byte, error) {
	size := r.public.Size()
	out := make([]byte, size*len(digests))
	if err := w.sign(len(digests), slices.Concat(digests...), out); err != nil {
		return nil, err
	}
	return slices.AppendSeq(signatures, slices.Chunk(out, size)), nil
}
