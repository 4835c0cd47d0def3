package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
)

// trustFlags name the certificates that signatures are checked with.
type trustFlags struct {
	certs   []string
	purpose string // of certificates that do not state it; see purposes
}

func (f *trustFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.certs, "cert", nil, "trust the certificates in `FILE`, PEM or DER; in a directory, x509_ima.crt")
	annotate(flags, "cert", noteEnvironment, "IMASIGN_CERT")
}

func (f *trustFlags) ring(ctx context.Context, a *app) (*ima.Keyring, error) {
	keys, err := f.keys(ctx, a)
	if err != nil {
		return nil, err
	}
	return a.keyring(keys), nil
}

// keys returns the keys of the certificates, at least one.
func (f *trustFlags) keys(ctx context.Context, a *app) ([]*ima.PublicKey, error) {
	files := f.certs
	if value, set := a.getenv("IMASIGN_CERT"); len(files) == 0 && set && value != "" {
		files = []string{value}
	}
	if len(files) == 0 {
		return nil, usagef("no certificate was given to check signatures with: --cert FILE")
	}
	return readKeys(ctx, files, fileSigner, f.purpose)
}

// keyring returns a keyring, and warns if it has several keys of one id.
func (a *app) keyring(keys []*ima.PublicKey) *ima.Keyring {
	ring := ima.NewKeyring(keys...)
	for _, id := range ring.Shared() {
		a.note("warning: different certificates have the key id %s: the kernel finds keys by this id alone and tries only one of them, so it may refuse what the other one signed", id)
	}
	return ring
}

// readKeyring returns the keyring of what readKeys returns.
func readKeyring(ctx context.Context, files []string, name, purpose string) (*ima.Keyring, error) {
	keys, err := readKeys(ctx, files, name, purpose)
	if err != nil {
		return nil, err
	}
	return ima.NewKeyring(keys...), nil
}

// readKeys returns the keys of the certificates in files, or in directories of those
// called name. purpose is that of certificates that do not state theirs.
func readKeys(ctx context.Context, files []string, name, purpose string) (keys []*ima.PublicKey, err error) {
	for _, path := range files {
		list, file, err := readCertificates(ctx, path, name)
		if err != nil {
			return nil, err
		}
		for _, cert := range list {
			key, err := ima.CertificateKey(cert)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if key, err = withPurpose(key, purpose); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			keys = append(keys, key)
		}
	}
	return keys, nil
}
