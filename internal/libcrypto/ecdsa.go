package libcrypto

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// ECDSA signs with crypto/ecdsa, which signs faster and uses the nonces of RFC 6979
// (OpenSSL only since 3.2). It verifies with libcrypto, which verifies faster. It is
// safe for concurrent use and needs Close.
type ECDSA struct {
	*pool
	private *ecdsa.PrivateKey
	public  *ecdsa.PublicKey
}

// NewECDSA returns a signer that makes ASN.1 DER signatures with private and
// verifies each with public, the certificate's key.
func (l *Library) NewECDSA(private *ecdsa.PrivateKey, public *ecdsa.PublicKey) (*ECDSA, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("libcrypto: public key: %w", err)
	}
	k, err := l.newKey(nil, spki)
	if err != nil {
		return nil, err
	}
	return &ECDSA{newPool(k, false), private, public}, nil
}

// VerifiesWith reports whether SignRaw verifies with exactly this public key.
func (e *ECDSA) VerifiesWith(public crypto.PublicKey) bool { return e.public.Equal(public) }

// SignRaw returns a verified signature for each digest. Equal digests get equal
// signatures. It takes the same hashes as RSA.
func (e *ECDSA) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	if err := checkDigests(h, digests); err != nil {
		return nil, err
	}
	signatures := make([][]byte, len(digests))
	for i, digest := range digests {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if signatures[i], err = e.private.Sign(nil, digest, h); err != nil {
			return nil, err
		}
	}
	if err := e.verify(h, digests, signatures); err != nil {
		return nil, err
	}
	return signatures, nil
}

func (e *ECDSA) verify(h crypto.Hash, digests, signatures [][]byte) error {
	return e.with(h, func(w *worker) error {
		for len(digests) > 0 {
			n := min(len(digests), batchSize)
			sizes := make([]uintptr, n)
			for i, signature := range signatures[:n] {
				sizes[i] = uintptr(len(signature))
			}
			if err := w.verify(slices.Concat(digests[:n]...), slices.Concat(signatures[:n]...), sizes); err != nil {
				return err
			}
			digests, signatures = digests[n:], signatures[n:]
		}
		return nil
	})
}
