package main

import (
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// keyCauses are those of keys and certificates.
func keyCauses() []cause {
	const (
		askedFor  = "--key-pass env:NAME, file:PATH, fd:N or cred:NAME gives it"
		passOfKey = "`pass` beside the uri gives it: env:NAME, file:PATH or cred:NAME" //nolint:gosec // no secret
	)
	return []cause{
		{err: keystore.ErrPassphraseNeeded, kind: "passphrase", advice: askedFor, flag: "key-pass"},
		{err: keystore.ErrPassphraseNeeded, kind: "passphrase", advice: passOfKey, on: "serve"},
		{err: keystore.ErrPassphraseNeeded, kind: "passphrase", advice: passOfKey, on: "serve check"},
		{err: keystore.ErrPINNeeded, kind: "passphrase", advice: passOfKey, on: "serve"},
		{err: keystore.ErrPINNeeded, kind: "passphrase", advice: passOfKey, on: "serve check"},
		{err: keystore.ErrPINNeeded, kind: "passphrase", advice: askedFor, flag: "key-pass"},
		{err: keystore.ErrWrongPassphrase, kind: "passphrase", advice: "check what --key-pass names", given: "key-pass"},
		{err: keystore.ErrWrongPIN, kind: "passphrase", advice: "check what --key-pass names before the next try", given: "key-pass"},
		{err: keystore.ErrWrongPIN, kind: "passphrase", advice: "check it before the next try"},
		{err: keystore.ErrLocked, kind: "passphrase"},
		{err: keystore.ErrNoSecret, kind: "passphrase"},
		{err: rpmsign.ErrOpenPGPLocked, kind: "passphrase"},
		{err: pkcs11.ErrExists, kind: "exists", advice: "key init --name makes one of another name"},
		{err: pkcs11.ErrSeveralCertificates, kind: "key", advice: "--cert names the one to use"},
		{err: pkcs11.ErrNoPublicKey, kind: "key", advice: "--cert names the certificate"},
		{err: tpm.ErrHash, kind: "key", advice: "--hash sha256", flag: "hash"},
		{err: keystore.ErrCertificateMismatch, kind: "key", advice: "--ca names the certificate of --ca-key, and `key show` prints key ids", flag: "ca-key"},
		{err: keystore.ErrCertificateMismatch, kind: "key", advice: "--cert names the certificate of --key, and `key show` prints key ids", flag: "cert"},
		{err: keystore.ErrNotAKey, kind: "key", advice: "--key takes a private key in PEM or DER", flag: "key"},
		{err: keystore.ErrNotAKey, kind: "key", advice: "name a key or a certificate in PEM or DER", on: "key show"},
		{err: keystore.ErrSeveralKeys, kind: "key"},
		{err: keystore.ErrKeyUse, kind: "key"},
		{err: keystore.ErrGone, kind: "key"},
		{err: keystore.ErrUnsupportedKey, kind: "unsupported"},
		{err: keystore.ErrSchemeNotBuilt, kind: "unsupported"},
		{err: keystore.ErrNotFound, kind: "not_found"},
		{err: certs.ErrNoCertificate, kind: "key", advice: "name a certificate file in PEM or DER"},
		{err: certs.ErrCurve, kind: "unsupported"},
		{err: certs.ErrRefused, kind: "refused"},
		{err: certs.ErrExists, kind: "exists", advice: "name another directory, or make a further set with --name", flag: "name"},
		{err: rpmsign.ErrOpenPGPKey, kind: "key", advice: "--openpgp-key takes a file that `gpg --export-secret-keys` wrote, or gpg:KEYID as `gpg --list-secret-keys` prints it", flag: "openpgp-key"},
	}
}
