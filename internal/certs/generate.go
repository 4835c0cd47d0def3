package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/youmark/pkcs8"
)

// iterations of PBKDF2-HMAC-SHA256, as OWASP recommended in 2023.
const iterations = 600_000

// Algorithms lists what GenerateKey makes, the default first.
func Algorithms() []string { return []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384"} }

// GenerateKey makes a private key. The error wraps [ErrOption].
func GenerateKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("%w: algorithm %q; there are: %s", ErrOption, algorithm, strings.Join(Algorithms(), ", "))
}

// privateKey makes a key where the options want it.
func (o *InitOptions) privateKey(ctx context.Context, name string) (*Made, error) {
	if o.Make != nil {
		return o.Make(ctx, name, o.Algorithm)
	}
	key, err := GenerateKey(o.Algorithm)
	if err != nil {
		return nil, err
	}
	file, err := o.armor(key)
	return &Made{Key: key, File: file}, err
}

// armor writes a private key as PKCS #8, encrypted in the way that every OpenSSL
// since 1.0 reads.
func (o *InitOptions) armor(key crypto.Signer) ([]byte, error) {
	block := pem.Block{Type: "PRIVATE KEY"}
	if o.Passphrase != nil {
		block.Type = "ENCRYPTED PRIVATE KEY"
	}
	var err error
	block.Bytes, err = pkcs8.MarshalPrivateKey(key, o.Passphrase, &pkcs8.Opts{
		Cipher:  pkcs8.AES256CBC,
		KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: iterations, HMACHash: crypto.SHA256},
	})
	if err != nil {
		return nil, fmt.Errorf("write the private key: %w", err)
	}
	defer clear(block.Bytes)
	return pem.EncodeToMemory(&block), nil
}
