package keystore

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Key is an opened signing key. It may be used by several goroutines at once until
// it is closed. However it is printed, only its key id and algorithm appear.
type Key struct {
	// Signer signs statements; [NewKey] makes it of what a backend has.
	ima.Signer
	// Public is what signatures are checked with: the certificate's key where
	// there is a certificate, else the bare one.
	Public *ima.PublicKey
	// Parallelism is how many batches are worth signing at a time; 0 means one a
	// core.
	Parallelism int
	// Provider names what computes the signatures.
	Provider string
	// Release gives back what the backend holds; nil for nothing.
	Release func() error

	raw ima.RawSigner // nil for one that signs statements only
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

// Close releases the key, which signs no more. Closing it again does nothing.
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

// Format prints String for every verb, so that %+v and %#v cannot reach the key
// material behind Signer.
func (k Key) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // nobody could be told
}

// Bind returns the public key under the id that signatures carry: that of cert,
// which must be of this key, or without one (nil) that of the bare key. Errors
// wrap [ErrCertificateMismatch] or what package ima refuses the key with.
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
