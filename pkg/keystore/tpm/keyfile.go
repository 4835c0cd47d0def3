package tpm

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	keyfile "github.com/foxboron/go-tpm-keyfiles"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// maxSize bounds a key file, in bytes. With certificates it has a few kilobytes.
const maxSize = 1 << 20

const label = "TSS2 PRIVATE KEY"

// contents is the content of a key file.
type contents struct {
	key          *keyfile.TPMKey
	certificates []*x509.Certificate
}

func readFile(ctx context.Context, path string) (*contents, error) {
	data, _, err := input.ReadSecret(ctx, path, maxSize)
	if err != nil {
		return nil, err
	}
	return parseFile(data)
}

// parseFile reads the key and the certificates in a key file.
func parseFile(data []byte) (*contents, error) {
	var found contents
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		switch block.Type {
		case label:
			if found.key != nil {
				return nil, fmt.Errorf("%w in the file: keep the one that signs", keystore.ErrSeveralKeys)
			}
			key, err := parseKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			found.key = key
		case "CERTIFICATE":
			cert, err := keystore.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("the certificate in the key's file: %w", quote.Plain(err))
			}
			found.certificates = append(found.certificates, cert)
		default:
			return nil, fmt.Errorf("%w of a TPM: PEM of type %.40q; file: opens the key files that need no TPM", keystore.ErrNotAKey, block.Type)
		}
	}
	if found.key == nil {
		return nil, fmt.Errorf("%w of a TPM: no PEM of type %q", keystore.ErrNotAKey, label)
	}
	return &found, nil
}

func parseKey(der []byte) (key *keyfile.TPMKey, err error) {
	if key, err = keyfile.Parse(der); err != nil {
		return nil, fmt.Errorf("%w of a TPM: %w", keystore.ErrNotAKey, quote.Plain(err))
	}
	switch {
	case key.Keytype.Equal(keyfile.OIDLoadableKey), key.Keytype.Equal(keyfile.OIDOldLoadableKey):
	case key.Keytype.Equal(keyfile.OIDSealedKey):
		return nil, fmt.Errorf("%w of a TPM: it is sealed data", keystore.ErrNotAKey)
	case key.Keytype.Equal(keyfile.OIDImportableKey):
		return nil, fmt.Errorf("%w: it is yet to be imported into the TPM (tpm2_import)", keystore.ErrUnsupportedKey)
	default:
		return nil, errors.New("a kind of TPM key that is not known here")
	}
	return key, nil
}
