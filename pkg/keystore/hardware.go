package keystore

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Refusals of tokens, TPMs and what else keeps a key to itself.
var (
	// ErrPINNeeded: the key is guarded by a PIN, password or authorization value,
	// and there is no source of it.
	ErrPINNeeded = errors.New("the key needs its PIN")
	// ErrWrongPIN: the device refused the PIN. It was tried once and will not be
	// tried again by itself: devices count, and lock.
	ErrWrongPIN = errors.New("wrong PIN")
	// ErrLocked: the device takes no PIN at all any more, or would take none after
	// one more that is wrong.
	ErrLocked = errors.New("locked against guessing")
	// ErrNotFound: no such module, token, device or key.
	ErrNotFound = errors.New("not found")
	// ErrGone: the device was there and no longer answers.
	ErrGone = errors.New("the device is gone")
	// ErrKeyUse: the device's rules for this key forbid what is asked of it.
	ErrKeyUse = errors.New("the key may not be used for this")
	// ErrClosed: the key was closed.
	ErrClosed = errors.New("the key is closed")
)

// NotBound is in the warning about a key in a device that lets it out.
const NotBound = "can be taken out of"

// SecretAt returns the Secret that an attribute of a URI names: env:NAME (by Getenv),
// fd:N, file:PATH, file:///PATH or an absolute path. As in [ParseSecretSource] nothing is
// read yet, and a wrong source is [ErrSecretSource], without its text.
func (o Options) SecretAt(source string) (Secret, error) {
	if strings.HasPrefix(source, "/") {
		source = "file:" + source
	}
	if rest, ok := strings.CutPrefix(source, "file:"); ok {
		path, err := filePath(rest)
		if err != nil {
			return nil, ErrSecretSource
		}
		source = "file:" + path
	}
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) (string, bool) { return "", false }
	}
	return ParseSecretSource(source, getenv, o.Warn)
}

// Request is what a key made in a device shall be.
type Request struct {
	Name      string // such as x509_ima: a token's label for it
	Algorithm string // rsa2048, rsa3072, rsa4096, p256, p384
}

// Generated is a key that a device has just made. The private part cannot be
// taken out of it. It is closed like any Key.
type Generated struct {
	*Key
	// URI opens the key from now on; "" where that depends on where File is put.
	URI string
	// File is what stands for the key outside of the device, wrapped by it; nil
	// where the device keeps everything itself.
	File []byte
	// Certify puts the key's certificate into the device; nil where it has no place
	// for one.
	Certify func(context.Context, *x509.Certificate) error
	// Discard takes everything back that was made in the device, certificate
	// included; nil for nothing. The key must not be closed yet.
	Discard func() error
}

// CryptoSigner returns the key as the standard library takes it, as for
// signing a certificate with x509.CreateCertificate. Its Sign obeys ctx and makes
// the signatures of IMA: PKCS #1 v1.5, or ECDSA in ASN.1 DER.
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
