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

// Signer signs digests of one form and hash. It returns one raw signature for each
// digest, in the same order: RSA PKCS#1 v1.5, ECDSA in ASN.1 DER, or ML-DSA. If it returns
// an error, it returns no signatures. It gets a batch of digests so that it can use several
// cores or save round trips.
type Signer interface {
	Sign(ctx context.Context, f Form, h HashID, digests [][]byte) (signatures [][]byte, err error)
}

// RawSigner is a private key in a file, a token or a TPM. It signs messages that are
// digests of the hash h, and returns one signature for each message, in the same order.
// If it returns an error, it returns no signatures.
//
// As in [crypto.Signer], hash 0 means that the message is signed as it is, which some
// algorithms need. A RawSigner with an RSA or ECDSA key must refuse hash 0, because RSA
// would sign a DigestInfo that the caller made. [CheckDigests] refuses it.
type RawSigner interface {
	SignRaw(ctx context.Context, h crypto.Hash, messages [][]byte) ([][]byte, error)
}

// SelfVerifying is implemented by a [Signer] or [RawSigner] that verifies every
// signature before it returns it. VerifiesWith reports whether it verifies with exactly
// this public key. If so, [Sign] does not verify the signatures again.
type SelfVerifying interface {
	VerifiesWith(pub crypto.PublicKey) bool
}

// FromRaw returns a [Signer] that makes, for each digest, the message that a key such as
// pub signs, and lets r sign the messages. Errors of its Sign are those of r, or wrap
// [ErrUnknownHash], [ErrUnsupportedHash], [ErrDigestSize] or [ErrUnsupportedVersion].
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

// VerifiesWith reports whether the RawSigner verifies with pub.
func (a adapter) VerifiesWith(pub crypto.PublicKey) bool {
	s, ok := a.raw.(SelfVerifying)
	return ok && s.VerifiesWith(pub)
}

// CheckDigests returns nil if all messages are digests that the hash h can have made. A
// [RawSigner] whose key signs only digests calls it first. The error wraps
// [ErrUnsupportedHash] for hash 0 and for hashes that [HashID.CryptoHash] never returns,
// and [ErrDigestSize] for a message of the wrong size.
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

// Sign returns one value of form f for each digest, in the same order. A value is a
// signature header (struct signature_v2_hdr of the kernel's
// security/integrity/integrity.h) with the key id of pub, followed by the signature.
//
// Every signature is verified with pub before Sign returns it. pub should come from the
// certificate and not from the private key: then a private key that does not belong to
// its certificate is found here.
//
// Errors wrap [ErrSHA1], [ErrPurpose], [ErrUnknownHash], [ErrUnsupportedHash],
// [ErrDigestSize], [ErrBadSignature], the signer's error or, for a form that cannot be signed,
// [ErrUnsupportedVersion]. If there is an error, there are no values.
func Sign(ctx context.Context, s Signer, pub *PublicKey, f Form, h HashID, digests [][]byte) ([][]byte, error) {
	if err := h.CheckSigns(); err != nil {
		return nil, err
	}
	// The signatures are verified against these messages, not against messages that the
	// Signer made.
	std, messages, err := pub.messages(f, h, digests)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if err := pub.checkPurpose(f); err != nil {
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
		if err := verifyAll(pub, f.Over, std, messages, sigs); err != nil {
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

// verifyAll verifies new signatures. It obeys no context: a slow key's signatures are worth
// keeping even if the run was cancelled meanwhile.
func verifyAll(pub *PublicKey, over Over, h crypto.Hash, messages, sigs [][]byte) error {
	for i, sig := range sigs {
		if err := pub.verify(over, h, messages[i], sig); err != nil {
			return fmt.Errorf("the new signature is not valid with key %s; does the private key belong to this certificate? %w", pub.ID(), err)
		}
	}
	return nil
}

// DigestValue returns the security.ima value of type 0x04, which holds a digest without
// a signature: the type, the hash id (one byte each), and the digest. It returns nil if
// the digest does not have the size of its hash.
func DigestValue(h HashID, digest []byte) []byte {
	if checkDigest(h, digest) != nil {
		return nil
	}
	v := Value{Type: TypeDigestNG, Hash: h, Digest: digest}
	return v.Append(make([]byte, 0, 2+len(digest)))
}

// CryptoSigner returns a [RawSigner] that signs with a [crypto.Signer]. An
// *ecdsa.PrivateKey signs with the deterministic nonces of RFC 6979, so the same input
// gives the same signature. Other keys get [rand.Reader], and their signatures may differ
// from run to run. Messages must be digests ([CheckDigests]) whatever the key. SignRaw
// checks the context before each signature.
func CryptoSigner(key crypto.Signer) RawSigner {
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		return cryptoSigner{key: key} // a nil reader selects RFC 6979 in crypto/ecdsa
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
