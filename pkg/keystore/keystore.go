// Package keystore opens signing keys by URI: a path or file: for a key file,
// another scheme for each other kind of store.
//
// What a scheme means is its backend's business; backends live in packages below
// this one and are put into [Backends], so that a program carries those it wants. A
// [Key] signs batches of digests and knows the public key that its signatures are
// checked with.
//
// Secrets are asked for through a [Secret], and only when a key turns out to need one.
// [ParseSecretSource] makes one from env:NAME, file:PATH or fd:N; asking a person is left
// to the caller, as are making keys and certificates; the form of signatures is left to
// package ima. No secret is ever part of an error.
package keystore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Refusals to open a key. Errors wrap one of these where a caller decides by it.
var (
	// ErrUnknownScheme: no such scheme exists.
	ErrUnknownScheme = errors.New("unknown key scheme")
	// ErrSchemeNotBuilt: the scheme exists, but not in this program.
	ErrSchemeNotBuilt = errors.New("key scheme not in this program")
	// ErrPassphraseNeeded: the key is encrypted and Options.Secret is nil.
	ErrPassphraseNeeded = errors.New("the key is encrypted and needs its passphrase")
	// ErrWrongPassphrase: decryption gave nonsense. A passphrase is tried once,
	// as the third wrong PIN locks a token.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrCertificateMismatch: the certificate is of another key.
	ErrCertificateMismatch = errors.New("the certificate does not belong to the key")
	// ErrNotAKey: something else is where the private key should be.
	ErrNotAKey = errors.New("not a private key")
	// ErrUnsupportedKey: a private key in a form, or encrypted in a way, that is
	// not read here.
	ErrUnsupportedKey = errors.New("unsupported form of key")
	// ErrSeveralKeys: there is no telling which key is meant.
	ErrSeveralKeys = errors.New("more than one private key")
)

// Options of [Backends.Open]. The zero value opens keys that need no secret.
type Options struct {
	// Certificate fixes the key id and is what signatures are checked with. A key
	// of another certificate is refused.
	Certificate *x509.Certificate
	// Secret is asked for the passphrase or PIN if the key needs one, once. The
	// slice it returns is overwritten after use.
	Secret Secret
	// Warn is told what the user should know although the key opened. It may be
	// nil.
	Warn func(string)
	// Getenv resolves env:NAME where a URI names the source of a secret; nil for no
	// variable at all.
	Getenv func(string) (string, bool)
}

// Warnf tells Warn, if there is one.
func (o Options) Warnf(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(fmt.Sprintf(format, args...))
	}
}

// Secret returns a passphrase or PIN; prompt says of what, as in "passphrase of
// x509_ima.key".
type Secret func(ctx context.Context, prompt string) ([]byte, error)

// Backend is one kind of store for keys.
type Backend struct {
	// Scheme is how its URIs begin, in lower case.
	Scheme string
	// Open opens a key. The URI comes whole, except for file:, where it is the path
	// alone.
	Open func(ctx context.Context, uri string, opts Options) (*Key, error)
	// Generate makes a key in the device that the URI names; nil where keys are not
	// made in the store itself.
	Generate func(ctx context.Context, uri string, r Request, opts Options) (*Generated, error)
}

// Backends are those that a program has.
type Backends []Backend

// Find returns the backend of a scheme, and whether there is one.
func (b Backends) Find(scheme string) (Backend, bool) {
	i := slices.IndexFunc(b, func(one Backend) bool { return one.Scheme == scheme })
	if i < 0 {
		return Backend{}, false
	}
	return b[i], true
}

// schemes are all that this project knows, built in or not.
func schemes() []string { return []string{"file", "nats", "pkcs11", "tpm2"} }

// Open opens the key that uri names with the backend of its scheme. A path needs no
// scheme; in front of one whose first component has a colon, write ./ or file:. The part
// after file: is taken as it stands; file:///path is /path. Errors wrap
// [ErrUnknownScheme], [ErrSchemeNotBuilt], or what the backend says of its own.
func (b Backends) Open(ctx context.Context, uri string, opts Options) (*Key, error) {
	if err := checkURI(uri); err != nil {
		return nil, err
	}
	scheme, rest := split(uri)
	backend, ok := b.Find(scheme)
	if !ok {
		return nil, b.unknown(scheme)
	}
	if scheme == "file" {
		path, err := filePath(rest)
		if err != nil {
			return nil, err
		}
		uri = path
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return backend.Open(ctx, uri, opts)
}

// FilePath returns the path in the URI of a key file; is tells whether it is one. A URI
// that [Backends.Open] refuses for its form or scheme is an error.
func FilePath(uri string) (path string, is bool, err error) {
	if err := checkURI(uri); err != nil {
		return "", false, err
	}
	scheme, rest := split(uri)
	switch {
	case scheme == "file":
		path, err = filePath(rest)
		return path, err == nil, err
	case slices.Contains(schemes(), scheme):
		return "", false, nil
	}
	return "", false, fmt.Errorf("%w: %q; there are: %s", ErrUnknownScheme, scheme, strings.Join(schemes(), ", "))
}

// checkURI refuses the key itself before its text gets into an error.
func checkURI(uri string) error {
	switch {
	case uri == "":
		return errors.New("no key is named: give its path or URI")
	case strings.Contains(uri, "-----BEGIN"), strings.ContainsAny(uri, "\n\r\x00"):
		return fmt.Errorf("%w: the content of a key stands where its path or URI belongs", ErrNotAKey)
	}
	return nil
}

// split finds the scheme (RFC 3986, 3.1), file when there is none.
func split(uri string) (scheme, rest string) {
	before, after, found := strings.Cut(uri, ":")
	if !found || !isScheme(before) {
		return "file", uri
	}
	return strings.ToLower(before), after
}

func isScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return s != ""
}

// filePath takes RFC 8089's file://host/path apart, where there is one.
func filePath(rest string) (string, error) {
	path := rest
	if after, found := strings.CutPrefix(rest, "//"); found {
		host, _, _ := strings.Cut(after, "/")
		if host != "" && host != "localhost" {
			return "", fmt.Errorf("file://%s/…: the key is on another host; file:PATH or file:///PATH names one here", host)
		}
		path = strings.TrimPrefix(after, host)
	}
	if path == "" {
		return "", errors.New("file: names no path")
	}
	return path, nil
}

// unknown never repeats the URI, of which a PIN may be part.
func (b Backends) unknown(scheme string) error {
	var names []string
	for _, backend := range b {
		names = append(names, backend.Scheme)
	}
	slices.Sort(names)
	have := strings.Join(names, ", ")
	if slices.Contains(schemes(), scheme) {
		return fmt.Errorf("%w: %s; it has: %s", ErrSchemeNotBuilt, scheme, have)
	}
	return fmt.Errorf("%w: %q; there are: %s; the path of a file with a colon starts with ./", ErrUnknownScheme, scheme, have)
}
