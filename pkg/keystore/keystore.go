// Package keystore opens signing keys by URI. A path or file: names a key file; every
// other kind of store has a scheme of its own.
//
// Backends for the schemes are in packages below this one. A program lists the backends
// that it wants in [Backends]. A [Key] signs batches of digests and knows the public key
// that verifies its signatures.
//
// A [Secret] is asked for only if a key needs one. [ParseSecretSource] returns a Secret for
// env:NAME, file:PATH, fd:N or cred:NAME. The caller prompts people, and makes keys and certificates.
// Package ima defines the form of signatures. No error contains a secret.
package keystore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reasons why a key is not opened. Errors wrap one of these if a caller may act on it.
var (
	// ErrUnknownScheme: no such scheme exists.
	ErrUnknownScheme = errors.New("unknown key scheme")
	// ErrSchemeNotBuilt: the scheme exists, but this program lacks its backend.
	ErrSchemeNotBuilt = errors.New("key scheme not in this program")
	// ErrPassphraseNeeded: the key is encrypted and Options.Secret is nil.
	ErrPassphraseNeeded = errors.New("the key is encrypted and needs its passphrase")
	// ErrWrongPassphrase: decryption did not give a key. A passphrase is tried once.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrCertificateMismatch: the certificate belongs to another key.
	ErrCertificateMismatch = errors.New("the certificate does not belong to the key")
	// ErrNotAKey: the input is not a private key.
	ErrNotAKey = errors.New("not a private key")
	// ErrUnsupportedKey: the private key has an unsupported format or encryption.
	ErrUnsupportedKey = errors.New("unsupported form of key")
	// ErrSeveralKeys: it is unclear which key is meant.
	ErrSeveralKeys = errors.New("more than one private key")
)

// Options of [Backends.Open]. The zero value opens keys that need no secret.
type Options struct {
	// Certificate fixes the key id and verifies the signatures. A key that it does not
	// belong to is refused.
	Certificate *x509.Certificate
	// Secret returns the passphrase or PIN. It is called once, and only if the key needs
	// one. The returned slice is overwritten after use.
	Secret Secret
	// Warn receives warnings about a key that opened nevertheless, and later about servers of a
	// signing service that are not used again, from any goroutine. It may be nil.
	Warn func(string)
	// Getenv looks up NAME if a URI names env:NAME as the source of a secret. If it is
	// nil, no variable is set.
	Getenv func(string) (string, bool)
	// Unverified allows a backend to return signatures that it did not verify, if verifying
	// takes longer than signing. Key.Unverified says whether it does.
	Unverified bool
	// Receipt receives the receipt of each batch that a signing service has logged, one at a
	// time, after all signatures of the batch were verified. It may be nil.
	Receipt func(Receipt)
}

// Receipt is the evidence that a signing service has logged a batch of signatures.
type Receipt struct {
	Server string // HOST:PORT
	Record []byte // the encoded record of the log; docs/protocol.md has its format
	Proof  string // that the log has it (C2SP tlog-proof)
	Leaves []byte // of the Merkle root in the record, 32 bytes for each signature
}

// Warnf calls Warn unless it is nil.
func (o Options) Warnf(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(fmt.Sprintf(format, args...))
	}
}

// Secret returns a passphrase or PIN. prompt says what it is for: "passphrase of
// x509_ima.key".
type Secret func(ctx context.Context, prompt string) ([]byte, error)

// Backend is one kind of store for keys.
type Backend struct {
	// Scheme is the scheme of its URIs, in lower case.
	Scheme string
	// Open opens a key. uri is the whole URI, but only the path if the scheme is file:.
	Open func(ctx context.Context, uri string, opts Options) (*Key, error)
	// Generate makes a key in the device that the URI names. It is nil if the store
	// cannot make keys.
	Generate func(ctx context.Context, uri string, r Request, opts Options) (*Generated, error)
}

// Backends are the backends of a program.
type Backends []Backend

// Find returns the backend of a scheme, and whether there is one.
func (b Backends) Find(scheme string) (Backend, bool) {
	i := slices.IndexFunc(b, func(one Backend) bool { return one.Scheme == scheme })
	if i < 0 {
		return Backend{}, false
	}
	return b[i], true
}

// schemes returns all schemes that this project defines, built in or not.
func schemes() []string { return []string{"file", "https", "nats", "pkcs11", "tpm2"} }

// Open opens the key that uri names with the backend of its scheme. A path needs no
// scheme, but a path whose first component has a colon must begin with ./ or file:. The
// path after file: is not percent-decoded; file:///path is /path. Errors wrap
// [ErrUnknownScheme], [ErrSchemeNotBuilt], or the backend's errors.
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

// FilePath returns the path in the URI of a key file. is is false for the URI of any other
// key. A URI that [Backends.Open] refuses for its form or scheme is an error.
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

// checkURI refuses the text of a key, so that no error repeats it.
func checkURI(uri string) error {
	switch {
	case uri == "":
		return errors.New("no key is named: give its path or URI")
	case strings.Contains(uri, "-----BEGIN"), strings.ContainsAny(uri, "\n\r\x00"):
		return fmt.Errorf("%w: this is the content of a key: give its path or URI", ErrNotAKey)
	}
	return nil
}

// split cuts off the scheme (RFC 3986, 3.1). Without a scheme it is file.
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

// filePath returns the path of a file: URI without its scheme, which may begin with
// //host (RFC 8089).
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

// unknown returns the error for a scheme without a backend. It does not repeat the URI,
// which may contain a PIN.
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
