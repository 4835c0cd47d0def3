package ima

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
)

// Signer makes raw signatures over digests: RSA PKCS#1 v1.5, or ECDSA in ASN.1
// DER. It returns one signature a digest, in order, or an error and none.
// Batches let it spread work or save round trips.
type Signer interface {
	Sign(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error)
}

// SelfVerifying is a Signer that already checks every signature it returns.
// VerifiesWith reports whether it does so with exactly this public key; then
// [Sign] relies on it.
type SelfVerifying interface {
	Signer
	VerifiesWith(pub crypto.PublicKey) bool
}

// Sign returns one security.ima value a digest: type 0x03, version 2, as struct
// signature_v2_hdr of the kernel's security/integrity/integrity.h. The key id
// is that of pub, and every signature has been verified with pub, not with a
// key derived from the private one, so a key that does not belong to its
// certificate is found here.
//
// Errors wrap [ErrSHA1], [ErrUnknownHash], [ErrUnsupportedHash],
// [ErrDigestSize], [ErrBadSignature] or what the signer returned; then there
// are no values.
func Sign(ctx context.Context, s Signer, pub *PublicKey, h HashID, digests [][]byte) ([][]byte, error) {
	return signValues(ctx, s, pub, Value{Type: TypeSignature, Version: 2, Hash: h}, digests)
}

// DigestValue returns the security.ima value that holds a digest without a
// signature: type 0x04. It returns nil if the digest does not have the size of
// its hash.
func DigestValue(h HashID, digest []byte) []byte {
	if checkDigest(h, digest) != nil {
		return nil
	}
	v := Value{Type: TypeDigestNG, Hash: h, Digest: digest}
	return v.Append(make([]byte, 0, 2+len(digest)))
}

// signValues signs digests and puts each signature behind the header in form.
func signValues(ctx context.Context, s Signer, pub *PublicKey, form Value, digests [][]byte) ([][]byte, error) {
	if err := form.Hash.CheckSigns(); err != nil {
		return nil, err
	}
	for i, digest := range digests {
		if err := checkDigest(form.Hash, digest); err != nil {
			return nil, fmt.Errorf("ima: sign digest %d: %w", i, err)
		}
	}
	sigs, err := signVerified(ctx, s, pub, form.Hash, digests)
	if err != nil {
		return nil, err
	}
	form.KeyID = pub.ID()
	values := make([][]byte, len(sigs))
	for i, sig := range sigs {
		form.Signature = sig
		values[i] = form.Append(make([]byte, 0, headerSize+len(sig)))
	}
	return values, nil
}

// signVerified returns signatures of which each has been checked with pub.
func signVerified(ctx context.Context, s Signer, pub *PublicKey, id HashID, digests [][]byte) ([][]byte, error) {
	h, _ := id.CryptoHash()
	sigs, err := s.Sign(ctx, h, digests)
	if err != nil {
		return nil, fmt.Errorf("ima: sign with key %s: %w", pub.ID(), err)
	}
	if len(sigs) != len(digests) {
		return nil, fmt.Errorf("ima: sign with key %s: %d signatures for %d digests", pub.ID(), len(sigs), len(digests))
	}
	sv, ok := s.(SelfVerifying)
	verified := ok && sv.VerifiesWith(pub.Public())
	for i, sig := range sigs {
		if len(sig) == 0 || len(sig) > math.MaxUint16 {
			return nil, fmt.Errorf("ima: sign with key %s: %w: %d bytes", pub.ID(), ErrBadSignature, len(sig))
		}
		if verified {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := pub.Verify(h, digests[i], sig); err != nil {
			return nil, fmt.Errorf("ima: the signer's output does not verify with key %s; does the private key belong to this certificate? %w", pub.ID(), err)
		}
	}
	return sigs, nil
}

// CryptoSigner adapts a [crypto.Signer]. An *ecdsa.PrivateKey signs with the
// deterministic nonces of RFC 6979, so that the same input gives the same
// bytes; other implementations get [rand.Reader] and may differ from run to
// run. The context is obeyed between signatures.
func CryptoSigner(key crypto.Signer) Signer {
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		return cryptoSigner{key: key} // crypto/ecdsa takes nil for RFC 6979
	}
	return cryptoSigner{key: key, random: rand.Reader}
}

type cryptoSigner struct {
	key    crypto.Signer
	random io.Reader
}

func (c cryptoSigner) Sign(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	sigs := make([][]byte, len(digests))
	for i, digest := range digests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sig, err := c.key.Sign(c.random, digest, h)
		if err != nil {
			return nil, err
		}
		if len(sig) == 0 {
			return nil, errors.New("signer returned nothing")
		}
		sigs[i] = sig
	}
	return sigs, nil
}
