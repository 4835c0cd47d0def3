package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
)

// keyFlags name a signing key.
type keyFlags struct {
	key, cert, pass string

	name     string                 // name of the key in a directory; "" for x509_ima
	variable bool                   // IMASIGN_KEY_PASS stands for pass
	passFlag string                 // the flag that gives pass; "" for --key-pass
	receipt  func(keystore.Receipt) // nil if nobody wants receipts
	purpose  string                 // of a key whose certificate does not state it; see purposes

	unverified bool // others verify all signatures; see [keystore.Options]
}

func (f *keyFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.key, "key", "", "sign with the key `URI`: a file, a directory with x509_ima.key, or a file:, pkcs11:, tpm2: or https: URI")
	flags.StringVar(&f.cert, "cert", "", "certificate of --key in `FILE`, PEM or DER; it determines the key id")
	annotate(flags, "key", noteEnvironment, "IMASIGN_KEY")
	annotate(flags, "cert", noteEnvironment, "IMASIGN_CERT")
	f.addPass(flags, "--key")
	once(flags, "key", "cert")
}

// addPass adds the flag that names the source of the passphrase or PIN of a key.
func (f *keyFlags) addPass(flags *pflag.FlagSet, of string) {
	f.variable = true
	flags.StringVar(&f.pass, "key-pass", "", "read the passphrase or PIN of "+of+" from `SOURCE`: env:NAME, file:PATH, fd:N or cred:NAME")
	annotate(flags, "key-pass", noteEnvironment, passVariable)
	annotate(flags, "key-pass", noteDefault, "ask on the terminal")
	once(flags, "key-pass")
}

func (f *keyFlags) fromEnvironment(a *app) {
	for name, flag := range map[string]*string{"IMASIGN_KEY": &f.key, "IMASIGN_CERT": &f.cert} {
		if value, set := a.getenv(name); set && *flag == "" {
			*flag = value
		}
	}
}

// open opens the key. It returns nil if no key was named.
func (f *keyFlags) open(ctx context.Context, a *app) (*keystore.Key, error) {
	switch {
	case f.key != "":
	case f.pass != "":
		flag := cmp.Or(f.passFlag, "--key-pass")
		return nil, usagef("%s has no effect without %s", flag, strings.TrimSuffix(flag, "-pass"))
	default:
		return nil, nil
	}
	secret, err := f.secret(a)
	if err != nil {
		return nil, err
	}
	uri, dir := f.key, directoryOf(f.key)
	if dir != nil {
		if uri, err = dir.key(f.pair()); err != nil {
			return nil, err
		}
	}
	cert, err := f.certificate(ctx, dir)
	if err != nil {
		return nil, err
	}
	key, err := a.openKey(ctx, uri, keystore.Options{
		Certificate: cert, Secret: secret, Getenv: a.uriSecret, Warn: a.warn, Receipt: f.receipt, Unverified: f.unverified,
	})
	switch {
	case errors.Is(err, keystore.ErrUnknownScheme) || errors.Is(err, pkcs11.ErrURI) || errors.Is(err, tpm.ErrURI) || errors.Is(err, remote.ErrURI):
		return nil, usageError{err}
	case err != nil:
		return nil, err
	case dir != nil && key.Public.Certificate() == nil:
		return nil, errors.Join(noCertificate(dir.path, f.pair()), key.Close())
	}
	public, err := signsAs(key.Public, f.purpose)
	if err != nil {
		return nil, errors.Join(err, key.Close())
	}
	key.Public = public
	return key, nil
}

// source returns where the key's passphrase comes from, and the flag or variable that
// says so. The source is "" if none does.
func (f *keyFlags) source(a *app) (name, source string) {
	if f.name == systemCA {
		return "--ca-pass", f.pass
	}
	if value, _ := a.getenv(passVariable); value != "" && f.variable && f.pass == "" {
		return passVariable, value
	}
	return cmp.Or(f.passFlag, "--key-pass"), f.pass
}

// secret returns the key's passphrase. A wrong source in IMASIGN_KEY_PASS is an error only
// if the key needs a passphrase.
func (f *keyFlags) secret(a *app) (keystore.Secret, error) {
	name, source := f.source(a)
	secret, err := a.secret(name, source)
	if err != nil && name == passVariable {
		return func(context.Context, string) ([]byte, error) { return nil, err }, nil
	}
	return secret, err
}

func (f *keyFlags) pair() string { return cmp.Or(f.name, fileSigner) }

// certificate returns the certificate of the key. If none was named, it returns the one
// beside the key in dir. It returns nil if there is none, or if dir is nil. The file of the
// key may then contain one.
func (f *keyFlags) certificate(ctx context.Context, dir *keyDirectory) (*x509.Certificate, error) {
	path := f.cert
	if path == "" && dir != nil {
		path, _ = certificateIn(dir.path, f.pair()) // open reports the error
	}
	if path == "" {
		return nil, nil
	}
	list, path, err := readCertificates(ctx, path, f.pair())
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%s: %d certificates; --cert takes the one that belongs to the key", path, len(list))
	}
	return list[0], nil
}

// public returns the public key of the opened key. Without a key, as in a dry run, it
// returns the public key of the certificate, or nil if no certificate was named.
func (f *keyFlags) public(ctx context.Context, key *keystore.Key) (*ima.PublicKey, error) {
	if key != nil {
		return key.Public, nil
	}
	cert, err := f.certificate(ctx, nil)
	if err != nil || cert == nil {
		return nil, err
	}
	public, err := ima.CertificateKey(cert)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.cert, err)
	}
	return signsAs(public, f.purpose)
}
