package file

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// unlock returns the key's DER in clear, asking for the passphrase if it takes
// one. The result may share its memory with found.
func unlock(ctx context.Context, path string, found *contents, secret keystore.Secret) ([]byte, error) {
	if found.legacy != nil {
		return withPassphrase(ctx, path, secret, found.decryptLegacy)
	}
	scheme, err := parseEncryption(found.der)
	if err != nil {
		return nil, err
	}
	if scheme == nil {
		return found.der, nil
	}
	// What cannot be decrypted anyway was refused before anybody is asked.
	return withPassphrase(ctx, path, secret, scheme.decrypt)
}

func withPassphrase(ctx context.Context, path string, secret keystore.Secret, decrypt func([]byte) ([]byte, error)) ([]byte, error) {
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
	return decrypt(passphrase)
}

// decryptLegacy undoes PEM encryption (RFC 1423, with OpenSSL's ciphers).
func (c *contents) decryptLegacy(passphrase []byte) ([]byte, error) {
	cipher, _, _ := strings.Cut(c.legacy.Headers["DEK-Info"], ",")
	//nolint:staticcheck // deprecated, as is the format; nothing else reads what `openssl genrsa -traditional` still writes
	der, err := x509.DecryptPEMBlock(c.legacy, passphrase)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, wrongPassphrase()
	case err != nil:
		// Of the error's own text a damaged header would become a part.
		return nil, conversion{fmt.Errorf("%w: PEM encryption with %.40q", keystore.ErrUnsupportedKey, cipher), byOpenSSL}
	}
	// Padding is right by chance once in 256 wrong passphrases.
	var all asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) > 0 || !isPrivateKey(all.Bytes) {
		clear(der)
		return nil, wrongPassphrase()
	}
	return der, nil
}

func isPrivateKey(content []byte) bool {
	shape := outline(content)
	return strings.HasPrefix(shape, "io") || strings.HasPrefix(shape, "iso") || strings.HasPrefix(shape, "iiiiiiiii")
}

func wrongPassphrase() error {
	return fmt.Errorf("%w, or the file is damaged", keystore.ErrWrongPassphrase)
}
