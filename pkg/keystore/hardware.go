package keystore

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// Errors of tokens, TPMs and other devices that do not reveal their keys.
var (
	// ErrPINNeeded: the key needs a PIN, password or authorization value, and no source
	// was given.
	ErrPINNeeded = errors.New("the key needs its PIN")
	// ErrWrongPIN: the device refused the PIN. It was tried once, and is not tried again:
	// devices count wrong PINs, then lock.
	ErrWrongPIN = errors.New("wrong PIN")
	// ErrLocked: the device accepts no PIN, or one more wrong PIN would lock it.
	ErrLocked = errors.New("locked against guessing")
	// ErrNotFound: the module, token, device or key does not exist.
	ErrNotFound = errors.New("not found")
	// ErrGone: the device stopped answering.
	ErrGone = errors.New("the device is gone")
	// ErrKeyUse: the attributes of the key, or the device, forbid this use.
	ErrKeyUse = errors.New("the key may not be used for this")
	// ErrClosed: the key was closed.
	ErrClosed = errors.New("the key is closed")
)

// FromService is part of the warning about a key whose certificate nobody named.
const FromService = "is the one that the service itself sent"

// NotBound is part of the warning about a key that can leave its device.
const NotBound = "can be taken out of"

// Request describes a key to be made in a device.
type Request struct {
	Name      string // the key's label in a token, such as x509_ima
	Algorithm string // rsa2048, rsa3072, rsa4096, p256, p384
}

// Generated is a key that a device has just made. Its private part cannot leave the
// device. It must be closed like any Key.
type Generated struct {
	*Key
	// URI opens the key from now on. It is "" if the key is opened by the path of File.
	URI string
	// File is the content of the key file: the key, wrapped by the device. It is nil if
	// the device stores the key.
	File []byte
	// Certify stores the key's certificate in the device. It is nil if the device stores
	// no certificates.
	Certify func(context.Context, *x509.Certificate) error
	// Discard deletes from the device what was made there, including the certificate. It
	// may be nil. The key must still be open.
	Discard func() error
}

// CryptoSigner returns the key as a [crypto.Signer], for example for
// x509.CreateCertificate. Sign obeys ctx and makes the signatures that IMA uses: PKCS #1
// v1.5, ECDSA in ASN.1 DER, or pure ML-DSA, for which opts has hash 0.
func (k *Key) CryptoSigner(ctx context.Context) crypto.Signer { return cryptoSigner{ctx, k} }

type cryptoSigner struct {
	ctx context.Context // crypto.Signer has no place for one
	key *Key
}

func (s cryptoSigner) Public() crypto.PublicKey { return s.key.Public.Public() }

func (s cryptoSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss {
		return nil, fmt.Errorf("%w: PSS signatures are not made", ErrUnsupportedKey)
	}
	if s.key.raw == nil {
		return nil, fmt.Errorf("%w: it signs for IMA alone", ErrKeyUse)
	}
	sigs, err := s.key.raw.SignRaw(s.ctx, opts.HashFunc(), [][]byte{digest})
	if err != nil {
		return nil, err
	}
	return sigs[0], nil
}
