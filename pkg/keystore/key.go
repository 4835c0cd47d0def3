package keystore

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Key is an opened signing key. Several goroutines may use it at once until it is closed.
// Printing it shows only its key id and algorithm.
type Key struct {
	// Signer signs statements; [NewKey] sets it.
	ima.Signer
	// Public verifies the signatures. It is the certificate's key, or the bare key if
	// there is no certificate.
	Public *ima.PublicKey
	// Parallelism is how many batches to sign at a time; 0 means one per core.
	Parallelism int
	// Slow says that a device or another machine signs, so that a signature is worth keeping
	// and counting.
	Slow bool
	// Batch is how many digests to sign at a time; 0 leaves that to the caller.
	Batch int
	// Whole says that a batch takes about as long as one digest. The key does not take them
	// one after the other.
	Whole bool
	// Unverified says that the key verifies no signatures because Options.Unverified allows it.
	Unverified bool
	// Provider names what computes the signatures.
	Provider string
	// Release frees the backend's resources; it may be nil.
	Release func() error

	raw ima.RawSigner // nil if the key signs only statements
}

// NewKey returns a Key that signs with raw, whose signatures public verifies. The
// caller sets the other fields.
func NewKey(raw ima.RawSigner, public *ima.PublicKey) *Key {
	return &Key{Signer: ima.FromRaw(raw, public), Public: public, raw: raw}
}

// VerifiesWith reports whether the signer itself checks every signature with pub;
// see [ima.SelfVerifying].
func (k *Key) VerifiesWith(pub crypto.PublicKey) bool {
	s, ok := k.Signer.(ima.SelfVerifying)
	return ok && s.VerifiesWith(pub)
}

// SignClaims signs as Sign does, and passes the claims to a signer that wants them.
func (k *Key) SignClaims(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte, claims []ima.Claim) ([][]byte, error) {
	if s, ok := k.Signer.(ima.ClaimSigner); ok {
		return s.SignClaims(ctx, f, h, digests, claims)
	}
	return k.Sign(ctx, f, h, digests)
}

// Close releases the key. A closed key does not sign. Closing it again does nothing.
func (k *Key) Close() error {
	release := k.Release
	k.Release = nil
	if release == nil {
		return nil
	}
	return release()
}

// String returns key id and algorithm.
func (k Key) String() string {
	if k.Public == nil {
		return "no key"
	}
	return fmt.Sprintf("key %s (%s)", k.Public.ID(), k.Public.Algorithm())
}

// Format prints String for every verb, so that %+v and %#v do not print the key material
// in Signer.
func (k Key) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // fmt reports errors of s
}

// ParseCertificate is [x509.ParseCertificate], and sets PublicKey to an [ima.MessageKey] in a
// certificate of an ML-DSA key (RFC 9881), which crypto/x509 does not know.
func ParseCertificate(der []byte) (*x509.Certificate, error) { return mldsa.ParseCertificate(der) }

// Bind returns the public key with the key id that signatures carry: the id of cert, which
// must belong to this key, or of the bare key if cert is nil. Errors wrap
// [ErrCertificateMismatch] or an error of package ima.
func Bind(public crypto.PublicKey, cert *x509.Certificate) (*ima.PublicKey, error) {
	bare, err := ima.BareKey(public)
	if err != nil || cert == nil {
		return bare, err
	}
	own, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !own.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%w: the certificate of %q has key id %s, the private key would have %s",
			ErrCertificateMismatch, cert.Subject, certificateID(cert), bare.ID())
	}
	return ima.CertificateKey(cert)
}

func certificateID(cert *x509.Certificate) string {
	id, err := ima.KeyIDFromCertificate(cert)
	if err != nil {
		return "(none)"
	}
	return id.String()
}
