// Package file opens signing keys in files: PEM or DER; PKCS #1, SEC 1 or PKCS #8; in
// clear, as encrypted PKCS #8 (PBES2), or as OpenSSL's older encrypted PEM. [New] returns
// the backend of package keystore for file:. [Encrypt] encrypts a new key.
//
// A certificate in the same file is used if no other is given. The same key and digest
// always give the same signature: ECDSA uses the nonces of RFC 6979. If libcrypto is
// installed, signing takes less time.
//
// Key files are hostile input: the size of a file is bounded, and so is the work of
// decrypting it. Other formats are refused by name, with the command that converts them.
// The caller makes keys and asks for passphrases.
package file

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// maxSize bounds a key file, in bytes. With a chain of certificates it has about 20 kB.
const maxSize = 1 << 20

// ErrTPMKey is a [keystore.ErrNotAKey]: only a TPM can unwrap the key in the file.
var ErrTPMKey = notAKey("it is the key of a TPM, which tpm2: opens")

// New returns the backend for file: URIs and paths. It makes no keys.
//
// Errors wrap the sentinels of package keystore, or [ima.ErrWeakKey] and
// [ima.ErrUnsupportedKey] if the kernel does not accept signatures by the key.
func New() keystore.Backend { return keystore.Backend{Scheme: "file", Open: open} }

// open opens the key file at path.
func open(ctx context.Context, path string, opts keystore.Options) (*keystore.Key, error) {
	data, info, err := input.ReadSecret(ctx, path, maxSize)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	defer clear(data)
	private, public, err := load(ctx, path, data, opts)
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", path, err)
	}
	input.WarnOfMode(opts.Warn, "private key", path, info)
	return sign(private, public, opts), nil
}

// load finds the key in data, decrypts it and compares it with its certificate.
func load(ctx context.Context, path string, data []byte, opts keystore.Options) (crypto.Signer, *ima.PublicKey, error) {
	found, err := find(data)
	if err != nil {
		return nil, nil, withConversion(err, path)
	}
	der, err := unlock(ctx, path, found, opts.Secret)
	if err != nil {
		return nil, nil, withConversion(err, path)
	}
	defer clear(der)
	private, err := parse(der)
	if err != nil {
		return nil, nil, withConversion(err, path)
	}
	cert := opts.Certificate
	if cert == nil {
		if cert, err = found.certificateOf(private.Public()); err != nil {
			return nil, nil, err
		}
	}
	public, err := keystore.Bind(private.Public(), cert)
	return private, public, err
}

// Load reads the key file at path for a search for copies of the key. It returns the key
// and its DER as the file has it, which may be encrypted. The key is nil if it is encrypted
// and secret is nil, or if a TPM has wrapped it. Errors are those of [New], or of reading
// the file.
func Load(ctx context.Context, path string, secret keystore.Secret) (private crypto.Signer, encoded []byte, err error) {
	data, _, err := input.ReadSecret(ctx, path, maxSize)
	if err != nil {
		return nil, nil, fmt.Errorf("open key: %w", err)
	}
	found, err := find(data)
	if err != nil {
		return nil, nil, fmt.Errorf("open key %s: %w", path, withConversion(err, path))
	}
	encoded = bytes.Clone(found.der)
	der, err := unlock(ctx, path, found, secret)
	if errors.Is(err, keystore.ErrPassphraseNeeded) || errors.Is(err, ErrTPMKey) {
		return nil, encoded, nil
	}
	if err == nil {
		private, err = parse(der)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open key %s: %w", path, withConversion(err, path))
	}
	return private, encoded, nil
}

// conversion is an error that command resolves. %s in command stands for the file.
type conversion struct {
	error
	command string
}

func (c conversion) Unwrap() error { return c.error }

func withConversion(err error, path string) error {
	var c conversion
	if !errors.As(err, &c) {
		return err
	}
	return fmt.Errorf("%w; to convert it: "+c.command, err, path)
}

// certificateOf returns the certificate in the file that belongs to public. If none does, it
// returns the first one, which Bind refuses, or nil.
func (c *contents) certificateOf(public crypto.PublicKey) (*x509.Certificate, error) {
	var first *x509.Certificate
	for _, der := range c.certificates {
		cert, err := keystore.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("the certificate in the key's file: %w", quote.Plain(err))
		}
		if own, ok := public.(interface{ Equal(crypto.PublicKey) bool }); ok && own.Equal(cert.PublicKey) {
			return cert, nil
		}
		if first == nil {
			first = cert
		}
	}
	return first, nil
}
