// Package file opens signing keys that are files: PEM or DER; PKCS #1, SEC 1 or
// PKCS #8; in clear, as encrypted PKCS #8 (PBES2), or as OpenSSL's older
// encrypted PEM. [New] gives the backend of package keystore for file:.
//
// A certificate in the same file is used where no other is given. Signatures are
// the same bytes at every build: RSA by its nature, ECDSA by the nonces of RFC
// 6979. libcrypto helps where it is installed, which changes nothing but the time.
//
// Key files are hostile input here: reading is bounded, and so is the work that
// decrypting may ask for. Making keys and asking for the passphrase are left to the
// caller. Forms that are not read are refused by name, with the command that converts
// them.
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

// maxSize bounds a key file; with a chain of certificates it has some 20 kB.
const maxSize = 1 << 20

// ErrTPMKey is a [keystore.ErrNotAKey]: the file has a key that only a TPM can unwrap.
var ErrTPMKey = notAKey("it is the key of a TPM, which tpm2: opens")

// New returns the backend for file: URIs and paths. It makes no keys.
//
// Errors wrap the sentinels of package keystore, or [ima.ErrWeakKey] and
// [ima.ErrUnsupportedKey] for keys that the kernel takes no signatures of.
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

// load finds the key in a file's content, decrypts it and matches it with its
// certificate.
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

// conversion is an error that a command resolves; %s stands for the file.
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

// certificateOf returns the file's certificate of this key, nil if it has none.
func (c *contents) certificateOf(public crypto.PublicKey) (*x509.Certificate, error) {
	var first *x509.Certificate
	for _, der := range c.certificates {
		cert, err := x509.ParseCertificate(der)
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
	return first, nil // which is not of this key: Bind says so
}
