package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/mldsa"
)

// Algorithms lists the algorithms of GenerateKey, the default first.
func Algorithms() []string {
	return append([]string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384"}, mldsa.Names()...)
}

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
	if slices.Contains(mldsa.Names(), algorithm) {
		return mldsa.Generate(algorithm, rand.Reader)
	}
	return nil, wrongOption("algorithm %q; there are: %s", algorithm, strings.Join(Algorithms(), ", "))
}

// privateKey makes a key with Make, or if that is nil with GenerateKey.
func (o *InitOptions) privateKey(ctx context.Context, r role) (*Made, error) {
	algorithm := o.Algorithm
	if r.isCA {
		algorithm = o.CAAlgorithm
	}
	if o.Make != nil {
		return o.Make(ctx, o.fileName(r), algorithm)
	}
	key, err := GenerateKey(algorithm)
	if err != nil {
		return nil, err
	}
	file, err := o.armor(ctx, key)
	return &Made{Key: key, File: file}, err
}

// armor writes a private key as PKCS #8 in PEM, encrypted if the options say so.
func (o *InitOptions) armor(ctx context.Context, key crypto.Signer) ([]byte, error) {
	der, err := marshal(key)
	if err != nil {
		return nil, fmt.Errorf("write the private key: %w", err)
	}
	defer clear(der)
	if o.Encrypt == nil {
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
	encrypted, err := o.Encrypt(ctx, der)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted}), nil
}

// marshal returns a private key as PKCS #8 in DER.
func marshal(key crypto.Signer) ([]byte, error) {
	if key, ok := key.(*mldsa.PrivateKey); ok {
		return key.MarshalPKCS8()
	}
	return x509.MarshalPKCS8PrivateKey(key)
}
