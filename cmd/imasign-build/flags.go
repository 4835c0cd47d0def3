package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
	"github.com/imasign/imasign-build/pkg/signing"
)

// keyFlags choose a signing key.
type keyFlags struct {
	key, cert, pass string

	name     string // of the key that a directory stands for; "" for x509_ima
	variable bool   // IMASIGN_KEY_PASS stands for pass
}

func (f *keyFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.key, "key", "", "signing key: a `path`, or a file:, pkcs11: or tpm2: URI; a directory stands for its x509_ima.key and x509_ima.crt (environment: IMASIGN_KEY)")
	flags.StringVar(&f.cert, "cert", "", "its certificate, a PEM or DER `file`; fixes the key id (environment: IMASIGN_CERT)")
	f.addPass(flags)
	once(flags, "key", "cert", "key-pass")
}

func (f *keyFlags) addPass(flags *pflag.FlagSet) {
	f.variable = true
	flags.StringVar(&f.pass, "key-pass", "", "`source` of the passphrase or PIN of --key: env:NAME, file:PATH or fd:N (environment: IMASIGN_KEY_PASS; default: prompt on the terminal)")
}

func (f *keyFlags) fromEnvironment(a *app) {
	for name, flag := range map[string]*string{"IMASIGN_KEY": &f.key, "IMASIGN_CERT": &f.cert} {
		if value, set := a.getenv(name); set && *flag == "" {
			*flag = value
		}
	}
}

// open opens the key, nil when none was named.
func (f *keyFlags) open(ctx context.Context, a *app) (*keystore.Key, error) {
	switch {
	case f.key != "":
	case f.pass != "":
		return nil, usagef("--key-pass has no effect: there is no --key")
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
		Certificate: cert, Secret: secret, Getenv: a.uriSecret, Warn: a.warn,
	})
	switch {
	case errors.Is(err, keystore.ErrUnknownScheme) || errors.Is(err, pkcs11.ErrURI) || errors.Is(err, tpm.ErrURI):
		return nil, usageError{err}
	case err != nil:
		return nil, err
	case dir != nil && key.Public.Certificate() == nil:
		return nil, errors.Join(noCertificate(dir.path, f.pair()), key.Close())
	}
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
	return "--key-pass", f.pass
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

// certificate returns the key's certificate. If none was named, it is the one beside the
// key in dir. It is nil if there is none there either, or dir is nil: the file of the key
// may have one.
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

// public returns the key that signatures are checked with: that of the opened key,
// or without one (nil), as in a dry run, of the certificate if one was named.
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
	return public, nil
}

// trustFlags choose the certificates that signatures are checked with.
type trustFlags struct{ certs []string }

func (f *trustFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.certs, "cert", nil, "trust this certificate, a PEM or DER `file`; a directory stands for its x509_ima.crt; may be repeated (environment: IMASIGN_CERT)")
}

func (f *trustFlags) ring(ctx context.Context, a *app) (*ima.Keyring, error) {
	files := f.certs
	if value, set := a.getenv("IMASIGN_CERT"); len(files) == 0 && set && value != "" {
		files = []string{value}
	}
	if len(files) == 0 {
		return nil, usagef("which certificate are signatures checked with? --cert FILE")
	}
	var keys []*ima.PublicKey
	for _, file := range files {
		list, file, err := readCertificates(ctx, file, fileSigner)
		if err != nil {
			return nil, err
		}
		for _, cert := range list {
			key, err := ima.CertificateKey(cert)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			keys = append(keys, key)
		}
	}
	ring := ima.NewKeyring(keys...)
	for _, id := range ring.Shared() {
		a.note("warning: different certificates have the key id %s: the kernel finds keys by this id alone and tries only one of them, so it may refuse what the other one signed", id)
	}
	return ring, nil
}

// engineFlags are how much is done at a time, and with which digests.
type engineFlags struct {
	hash  string
	jobs  int
	force bool
	from  string // id of the key that is being replaced
}

func (f *engineFlags) addJobs(flags *pflag.FlagSet) {
	flags.IntVarP(&f.jobs, "jobs", "j", 0, "files to work on at a time (default: one a core)")
}

func (f *engineFlags) addHash(flags *pflag.FlagSet) {
	flags.StringVar(&f.hash, "hash", "sha256", "digest `algorithm`: "+signingHashes)
}

func (f *engineFlags) addForce(flags *pflag.FlagSet) {
	flags.BoolVar(&f.force, "force", false, "replace signatures that were, or may have been, made by another key")
}

// addReplace adds what decides about signatures that are there.
func (f *engineFlags) addReplace(flags *pflag.FlagSet) {
	f.addForce(flags)
	flags.StringVar(&f.from, "from-key-id", "", "only replace signatures of the key with this `id`; what is unsigned stays so")
	once(flags, "from-key-id")
}

// engine makes the engine; key and public may be nil.
func (f *engineFlags) engine(key *keystore.Key, public *ima.PublicKey, observe signing.Observer) (*signing.Engine, error) {
	signer := signing.Key{Public: public}
	if f.jobs < 0 {
		return nil, usagef("--jobs %d: at least 1", f.jobs)
	}
	if f.from != "" {
		from, err := ima.ParseKeyID(f.from)
		switch {
		case err != nil:
			return nil, usageError{fmt.Errorf("--from-key-id: %w", err)}
		case f.force:
			return nil, usagef("--force replaces signatures of any key: leave out --from-key-id, or it")
		case public != nil && public.ID() == from:
			return nil, usagef("--from-key-id %s is the id of the key that signs", from)
		}
		signer.From = from
	}
	var hash ima.HashID
	if f.hash != "" {
		var err error
		if hash, err = parseHash(f.hash); err != nil {
			return nil, err
		}
	}
	if key != nil {
		signer.Signer, signer.Public, signer.Workers = key, key.Public, cmp.Or(key.Parallelism, f.jobs)
	}
	return signing.New(signing.Options{
		Stages: []signing.Stage{signing.ContentStage(&signer, hash)}, Jobs: f.jobs, Force: f.force, Observe: observe,
	})
}

// addAllowEmpty adds the flag without which a verification that judged no file fails:
// a wrong directory or pattern is more likely than that there is nothing to verify.
func addAllowEmpty(flags *pflag.FlagSet, allow *bool, verb string) {
	flags.BoolVar(allow, "allow-empty", false, "succeed even if there is no file to "+verb)
}

// nothing says that name has no file to verify, or whatever verb is.
func (a *app) nothing(verb, name string, allowed bool) {
	hint := "; --allow-empty accepts that"
	if allowed {
		hint = ""
	}
	a.note("warning: there was no file to %s in %s%s", verb, name, hint)
}

// signingHashes are what signatures are made over.
const signingHashes = "sha224, sha256, sha384, sha512, sha3-256, sha3-384, sha3-512"

// parseHash tells a hash that is too weak from one that the kernel has and this program
// does not, and from no hash at all.
func parseHash(name string) (ima.HashID, error) {
	hash, err := ima.ParseHash(name)
	if err == nil {
		err = hash.CheckSigns()
	}
	switch {
	case errors.Is(err, ima.ErrSHA1):
		return 0, usagef("--hash %s: too weak to sign with; there are: %s", name, signingHashes)
	case errors.Is(err, ima.ErrUnsupportedHash):
		return 0, usagef("--hash %s: unsupported: the kernel has it, this program cannot compute it; there are: %s", name, signingHashes)
	case err != nil:
		return 0, usagef("--hash %s: unknown; there are: %s", name, signingHashes)
	}
	return hash, nil
}
