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

// Signer signs statements of one form and hash. It returns one raw signature a digest,
// in order, or an error and none: RSA PKCS#1 v1.5, or ECDSA in ASN.1 DER. Batches let
// it spread work or save round trips.
type Signer interface {
	Sign(ctx context.Context, f Form, h HashID, digests [][]byte) (signatures [][]byte, err error)
}

// RawSigner is what a key in a file, a token or a TPM does: it signs messages that were
// digested with h, one signature a message, in order, or an error and none. Like
// [crypto.Signer] it takes hash 0 for "the message itself", as some algorithms want it.
// RSA and ECDSA do not, and a RawSigner with such a key must refuse hash 0: RSA would
// sign a DigestInfo of the caller's making. [CheckDigests] does.
type RawSigner interface {
	SignRaw(ctx context.Context, h crypto.Hash, messages [][]byte) ([][]byte, error)
}

// SelfVerifying is what a [Signer] or [RawSigner] has that already checks every
// signature it returns. VerifiesWith reports whether it does so with exactly this
// public key; then [Sign] relies on it.
type SelfVerifying interface {
	VerifiesWith(pub crypto.PublicKey) bool
}

// FromRaw makes a Signer of a RawSigner: it makes of each statement the message that a
// key like pub signs. Errors of its Sign are those of r, or wrap [ErrUnknownHash],
// [ErrUnsupportedHash], [ErrDigestSize] or [ErrUnsupportedVersion].
func FromRaw(r RawSigner, pub *PublicKey) Signer { return adapter{r, pub} }

type adapter struct {
	raw RawSigner
	key *PublicKey
}

func (a adapter) Sign(ctx context.Context, f Form, h HashID, digests [][]byte) ([][]byte, error) {
	std, messages, err := a.key.messages(f, h, digests)
	if err != nil {
		return nil, err
	}
	return a.raw.SignRaw(ctx, std, messages)
}

// VerifiesWith is that of the RawSigner.
func (a adapter) VerifiesWith(pub crypto.PublicKey) bool {
	s, ok := a.raw.(SelfVerifying)
	return ok && s.VerifiesWith(pub)
}

// CheckDigests returns why a RawSigner whose key signs digests refuses these messages:
// [ErrUnsupportedHash] for hash 0 and hashes that [HashID.CryptoHash] never returns,
// [ErrDigestSize] for a message that the hash cannot have made.
func CheckDigests(h crypto.Hash, messages [][]byte) error {
	id, ok := HashIDOf(h)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnsupportedHash, h)
	}
	for _, message := range messages {
		if err := checkDigest(id, message); err != nil {
			return err
		}
	}
	return nil
}

// Sign returns one value of form f a digest: its header, as struct signature_v2_hdr of
// the kernel's security/integrity/integrity.h, with the key id of pub, and the
// signature. Every signature has been verified with pub, not with a key derived from
// the private one, so a key that does not belong to its certificate is found here.
//
// Errors wrap [ErrSHA1], [ErrUnknownHash], [ErrUnsupportedHash], [ErrDigestSize],
// [ErrBadSignature], what the signer returned or, for a form that cannot be signed,
// [ErrUnsupportedVersion]; then there are no values.
func Sign(ctx context.Context, s Signer, pub *PublicKey, f Form, h HashID, digests [][]byte) ([][]byte, error) {
	if err := h.CheckSigns(); err != nil {
		return nil, err
	}
	// What is verified is what was to be signed, whatever the Signer made of it.
	std, messages, err := pub.messages(f, h, digests)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sigs, err := s.Sign(ctx, f, h, digests)
	if err == nil && len(sigs) != len(digests) {
		err = fmt.Errorf("%d signatures for %d digests", len(sigs), len(digests))
	}
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", pub.ID(), err)
	}
	if sv, ok := s.(SelfVerifying); !ok || !sv.VerifiesWith(pub.Public()) {
		if err := verifyAll(ctx, pub, std, messages, sigs); err != nil {
			return nil, err
		}
	}
	v := Value{Type: f.Type, Version: f.Version, Hash: h, KeyID: pub.ID()}
	values := make([][]byte, len(sigs))
	for i, sig := range sigs {
		if len(sig) == 0 || len(sig) > math.MaxUint16 {
			return nil, fmt.Errorf("sign with key %s: %w: %d bytes", pub.ID(), ErrBadSignature, len(sig))
		}
		v.Signature = sig
		values[i] = v.Append(make([]byte, 0, headerSize+len(sig)))
	}
	return values, nil
}

func verifyAll(ctx context.Context, pub *PublicKey, h crypto.Hash, messages, sigs [][]byte) error {
	for i, sig := range sigs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := pub.verify(h, messages[i], sig); err != nil {
			return fmt.Errorf("the signer's output does not verify with key %s; does the private key belong to this certificate? %w", pub.ID(), err)
		}
	}
	return nil
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

// CryptoSigner adapts a [crypto.Signer]. An *ecdsa.PrivateKey signs with the
// deterministic nonces of RFC 6979, so that the same input gives the same
// bytes; other implementations get [rand.Reader] and may differ from run to
// run. The context is obeyed between signatures. Messages are digests
// ([CheckDigests]), whatever key can do.
func CryptoSigner(key crypto.Signer) RawSigner {
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		return cryptoSigner{key: key} // crypto/ecdsa takes nil for RFC 6979
	}
	return cryptoSigner{key: key, random: rand.Reader}
}

type cryptoSigner struct {
	key    crypto.Signer
	random io.Reader
}

func (c cryptoSigner) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	if err := CheckDigests(h, digests); err != nil {
		return nil, err
	}
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
