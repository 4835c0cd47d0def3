package file

import (
	"context"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// unlock returns the key's DER in clear. It asks for the passphrase if the key is encrypted.
// The result may share its memory with found.
func unlock(ctx context.Context, path string, found *contents, secret keystore.Secret) ([]byte, error) {
	scheme, err := found.encryption()
	if err != nil {
		return nil, err
	}
	if scheme == nil {
		return found.der, nil
	}
	return withPassphrase(ctx, path, secret, scheme.decrypt)
}

// Decrypt decrypts a key in encrypted PKCS #8 (RFC 5958, PBES2), of any algorithm. It asks
// secret for the passphrase of name, and returns the DER of the key in clear. Errors are those
// of [New].
func Decrypt(ctx context.Context, name string, der []byte, secret keystore.Secret) ([]byte, error) {
	scheme, err := parseEncryption(der)
	if err == nil && scheme == nil {
		err = damaged("encrypted PKCS #8")
	}
	if err != nil {
		return nil, withConversion(err, name)
	}
	return withPassphrase(ctx, name, secret, scheme.decrypt)
}

// encryption returns nil for a key that is not encrypted. It refuses an unsupported
// encryption before anybody is asked for the passphrase.
func (c *contents) encryption() (*encryption, error) {
	if c.isTPM {
		return nil, ErrTPMKey
	}
	if c.legacy != nil {
		return parseLegacy(c.legacy)
	}
	return parseEncryption(c.der)
}

func withPassphrase(ctx context.Context, path string, secret keystore.Secret, decrypt func(context.Context, []byte) ([]byte, error)) ([]byte, error) {
	if secret == nil {
		return nil, keystore.ErrPassphraseNeeded
	}
	passphrase, err := secret(ctx, "passphrase of "+path)
	defer clear(passphrase)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return decrypt(ctx, passphrase)
}

func isPrivateKey(content []byte) bool {
	shape := outline(content)
	return strings.HasPrefix(shape, "io") || strings.HasPrefix(shape, "iso") || strings.HasPrefix(shape, "iiiiiiiii")
}

func wrongPassphrase() error {
	return fmt.Errorf("%w, or the file is damaged", keystore.ErrWrongPassphrase)
}
