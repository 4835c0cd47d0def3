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
	"github.com/imasign/imasign-build/pkg/signing"
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

// engineFlags say how files are digested and which signatures are replaced.
type engineFlags struct {
	hash  string
	jobs  int
	force bool
	from  string // id of the key whose signatures are replaced
	form  string // "v2", "v3", or "" for what the key is for

	receipts string // file for the receipts of a signing service; "" for none

	reuse  reuseFlags
	caches func(*keystore.Key) []signing.Cache // of the signatures of a key; nil for none

	verity bool        // some files get signatures over their fs-verity digests
	kernel kernelFlags // that will verify the signatures
}

func (f *engineFlags) addJobs(flags *pflag.FlagSet) { jobsVar(flags, &f.jobs, "files") }

// jobsVar adds the flag that says how many things are worked on at a time.
func jobsVar(flags *pflag.FlagSet, jobs *int, things string) {
	flags.IntVarP(jobs, "jobs", "j", 0, "work on `N` "+things+" at a time")
	annotate(flags, "jobs", noteDefault, "one per processor core")
}

// checkJobs refuses a value of --jobs that is no number of things. 0 is the default.
func checkJobs(jobs int) error {
	if jobs < 0 {
		return usagef("--jobs %d: must be at least 1", jobs)
	}
	return nil
}

func (f *engineFlags) addHash(flags *pflag.FlagSet) {
	c := choiceVar(flags, &f.hash, "hash", "sha256", "digest algorithm of the signatures", words(signingHashes()...))
	c.accept = func(name string) error {
		_, err := parseHash(name)
		return err
	}
}

func (f *engineFlags) addForce(flags *pflag.FlagSet) {
	flags.BoolVar(&f.force, "force", false, "replace signatures that were, or may have been, made by another key")
}

// addReplace adds the flags that say which existing signatures are replaced.
func (f *engineFlags) addReplace(flags *pflag.FlagSet) {
	f.addForce(flags)
	flags.StringVar(&f.from, "from-key-id", "", "replace only signatures whose key id is `ID`; unsigned files stay unsigned")
	once(flags, "from-key-id")
}

// engine makes the engine. key and public may be nil. stages follow the one for
// security.ima.
func (f *engineFlags) engine(key *keystore.Key, public *ima.PublicKey, observe signing.Observer, stages ...signing.Stage) (*signing.Engine, error) {
	signer := signing.Key{Public: public}
	if err := checkJobs(f.jobs); err != nil {
		return nil, err
	}
	var err error
	if signer.From, err = replacedKey("from-key-id", f.from, f.force, public); err != nil {
		return nil, err
	}
	var hash ima.HashID
	if f.hash != "" {
		if hash, err = parseHash(f.hash); err != nil {
			return nil, usageError{fmt.Errorf("--hash %q: %w", f.hash, err)}
		}
	}
	if key != nil {
		f.signWith(&signer, key)
	}
	content, err := f.versioned(signing.ContentStage(&signer, hash))
	if err != nil {
		return nil, err
	}
	if form := ima.VeritySignature(); f.verity && signer.Public != nil && !signer.Public.Purpose().Allows(form) {
		return nil, &purposeError{signer.Public, form}
	}
	return signing.New(signing.Options{
		Stages: append([]signing.Stage{content}, stages...), Jobs: f.jobs, Force: f.force, Observe: observe,
	})
}

// signWith completes the key of a stage.
func (f *engineFlags) signWith(signer *signing.Key, key *keystore.Key) {
	signer.Signer, signer.Public, signer.Workers = key, key.Public, cmp.Or(key.Parallelism, f.jobs)
	signer.Batch, signer.Whole = key.Batch, key.Whole
	if f.caches != nil {
		signer.Caches = f.caches(key)
	}
}

// replacedKey reads the value of a flag that limits a run to the signatures of one key.
// The id is 0 if the flag was not given. public is the key that signs, nil if not known.
func replacedKey(flag, value string, force bool, public *ima.PublicKey) (ima.KeyID, error) {
	if value == "" {
		return 0, nil
	}
	from, err := ima.ParseKeyID(value)
	switch {
	case err != nil:
		return 0, usageError{fmt.Errorf("--%s: %w", flag, err)}
	case force:
		return 0, usagef("--force replaces signatures of any key: leave out --force or --%s", flag)
	case public != nil && public.ID() == from:
		return 0, usagef("--%s %s is the id of the key that signs", flag, from)
	}
	return from, nil
}

// addAllowEmpty adds the flag that lets a verification of no files succeed. Without it the
// verification fails, because a wrong directory or pattern is the likely reason.
func addAllowEmpty(flags *pflag.FlagSet, allow *bool, verb string) {
	flags.BoolVar(allow, "allow-empty", false, "succeed even if there is no file to "+verb)
}

// nothing warns that name has no file to verify, search and so on.
func (a *app) nothing(verb, name string, allowed bool) {
	hint := "; --allow-empty accepts that"
	if allowed {
		hint = ""
	}
	a.note("warning: there was no file to %s in %s%s", verb, name, hint)
}

// signingHashes returns the names of the hashes that files can be signed with.
func signingHashes() []string {
	return []string{"sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"}
}

// parseHash reads the name of a hash to sign with. Its errors distinguish hashes that are
// too weak, hashes that the kernel has and this program does not, and other words.
func parseHash(name string) (ima.HashID, error) {
	hash, err := ima.ParseHash(name)
	if err == nil {
		err = hash.CheckSigns()
	}
	choose := unknownWord(words(signingHashes()...), name)
	switch {
	case errors.Is(err, ima.ErrSHA1):
		return 0, fmt.Errorf("too weak to sign with: %w", choose)
	case errors.Is(err, ima.ErrUnsupportedHash):
		return 0, fmt.Errorf("the kernel supports this hash, but this program does not: %w", choose)
	case err != nil:
		return 0, choose
	}
	return hash, nil
}
