package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/youmark/pkcs8"
)

// iterations of PBKDF2-HMAC-SHA256, as OWASP recommended in 2023.
const iterations = 600_000

// InitOptions are what Init makes. The zero value makes RSA-2048 keys in clear for
// a device called "Device".
type InitOptions struct {
	// Algorithm is one of Algorithms; "" is the first.
	Algorithm string
	// With names key pairs beyond the CA and the IMA key; see Extras.
	With []string
	// Name tells this set's keys, those that CA certifies, from others in the same
	// directory or token: x509_ima becomes x509_ima_NAME. "" for none.
	Name string
	// Subject is in every certificate, with the role of each behind the common
	// name.
	Subject   pkix.Name
	Days      int       // zero for DefaultDays
	NotBefore time.Time // zero for now
	// Passphrase encrypts the private keys, unless it is nil.
	Passphrase []byte
	// Make makes the private keys, in a token as a rule; nil for GenerateKey.
	Make func(ctx context.Context, name, algorithm string) (*Made, error)
	// CA certifies the keys; nil for a system CA that is made as well.
	CA *Issuer
	// OnlyCA makes the system CA and nothing for it to certify yet.
	OnlyCA bool
}

// Made is a private key by InitOptions.Make.
type Made struct {
	Key crypto.Signer
	// File is the content of the key's file; nil for none.
	File []byte
	// Certify is told the key's certificate; nil for nobody.
	Certify func(context.Context, *x509.Certificate) error
	// Discard takes the key back when a later step fails; nil for nothing to take.
	Discard func() error
}

// KeyPair is what Init made of one role.
type KeyPair struct {
	Name        string            // the files' name without extension
	Key         string            // path of the private key, mode 0600; "" if it has no file
	PEM, DER    string            // paths of the certificate; DER is "" for the system CA
	Certificate *x509.Certificate // key id: ima.KeyIDFromCertificate
}

// Files lists the paths.
func (p KeyPair) Files() []string {
	return slices.DeleteFunc([]string{p.Key, p.PEM, p.DER}, func(path string) bool { return path == "" })
}

// role is one key pair of a set.
type role struct {
	extra  string // its name in With, "" for what is always made
	file   string
	suffix string // to the common name
	issue  func(Issuer, crypto.PublicKey, Request) (*x509.Certificate, error)
}

// roles begin with the system CA, which signs the others.
func roles() []role {
	return []role{
		{"", "system_trusted_key", "system CA", nil},
		{"", "x509_ima", "IMA signing", Issuer.Signer},
		{"rpm", "x509_ima_rpm", "RPM IMA signing", Issuer.Signer},
		{"evm", "x509_evm", "EVM signing", Issuer.Signer},
		{"secondary", "x509_secondary", "secondary CA", Issuer.SecondaryCA},
	}
}

// Algorithms lists what GenerateKey makes, the default first.
func Algorithms() []string { return []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384"} }

// Extras lists what InitOptions.With may name.
func Extras() []string {
	var names []string
	for _, r := range roles() {
		if r.extra != "" {
			names = append(names, r.extra)
		}
	}
	return names
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
	return nil, fmt.Errorf("%w: algorithm %q; there are: %s", ErrOption, algorithm, strings.Join(Algorithms(), ", "))
}

// Init makes keys and certificates in dir, which it makes too if need be, under
// the names that Yocto layers expect: system_trusted_key.{key,crt} is the CA,
// x509_ima.{key,crt,der} signs files, and With adds x509_ima_rpm (rpm), x509_evm
// (evm) and x509_secondary (secondary, a CA).
//
// It overwrites nothing: if one of the files exists, [ErrExists] lists all that
// do. When anything fails, what it wrote is removed, and what Make made discarded.
// Wrong options are [ErrOption].
func Init(ctx context.Context, dir string, o InitOptions) (_ []KeyPair, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	pairs := o.pairs(dir)
	if err := checkAbsent(pairs); err != nil {
		return nil, err
	}
	w := &work{options: &o}
	if o.CA != nil {
		w.ca = *o.CA
	}
	defer func() { err = errors.Join(err, w.end(err)) }()
	for i := range pairs {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := w.make(ctx, &pairs[i]); err != nil {
			return nil, fmt.Errorf("make %s: %w", pairs[i].Name, err)
		}
	}
	if err := writeAll(ctx, dir, w.files); err != nil {
		return nil, err
	}
	return pairs, nil
}

// work is what Init has made so far.
type work struct {
	options *InitOptions
	ca      Issuer
	files   []newFile
	made    []*Made
}

// end overwrites the private keys in memory, and discards them after a failure.
func (w *work) end(failed error) (err error) {
	for _, f := range w.files {
		clear(f.data)
	}
	if failed == nil {
		return nil
	}
	for _, m := range slices.Backward(w.made) {
		if m.Discard != nil {
			err = errors.Join(err, m.Discard())
		}
	}
	return err
}

// complete fills in defaults and judges everything that needs no key.
func (o *InitOptions) complete() error {
	if o.Algorithm == "" {
		o.Algorithm = Algorithms()[0]
	}
	if !slices.Contains(Algorithms(), o.Algorithm) {
		return fmt.Errorf("%w: algorithm %q; there are: %s", ErrOption, o.Algorithm, strings.Join(Algorithms(), ", "))
	}
	for _, name := range o.With {
		if !slices.Contains(Extras(), name) {
			return fmt.Errorf("%w: no key pair is called %q; there are: %s", ErrOption, name, strings.Join(Extras(), ", "))
		}
	}
	if o.Passphrase != nil && len(o.Passphrase) == 0 {
		return fmt.Errorf("%w: the passphrase is empty", ErrOption)
	}
	if o.OnlyCA && (o.CA != nil || len(o.With) > 0) {
		return fmt.Errorf("%w: the CA alone is to be made: there is one already, or other keys are asked for", ErrOption)
	}
	if o.Passphrase != nil && o.Make != nil {
		return fmt.Errorf("%w: a passphrase encrypts key files, and these keys are made elsewhere", ErrOption)
	}
	if err := o.checkName(); err != nil {
		return err
	}
	if o.Subject.CommonName == "" {
		o.Subject.CommonName = "Device"
	}
	for _, r := range roles() {
		if err := checkSubject(o.subject(r)); err != nil {
			return err
		}
	}
	_, _, err := Request{NotBefore: o.NotBefore, Days: o.Days}.validity()
	return err
}

// fileName is the name of a role's files and of its key in a token.
func (o *InitOptions) fileName(r role) string {
	if o.Name == "" || r.issue == nil {
		return r.file
	}
	return r.file + "_" + o.Name
}

// checkName refuses what is no part of a file's name, and the names of other roles.
func (o *InitOptions) checkName() error {
	if strings.ContainsFunc(o.Name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) || len(o.Name) > 64 {
		return fmt.Errorf("%w: name %q: up to 64 letters, digits, - and _", ErrOption, o.Name)
	}
	if slices.Contains(Extras(), o.Name) {
		return fmt.Errorf("%w: name %q: x509_ima_%[2]s or the like is the name of another kind of key", ErrOption, o.Name)
	}
	if o.Name != "" && o.CA == nil {
		return fmt.Errorf("%w: a set of another name belongs to a CA that there is: name its key and certificate", ErrOption)
	}
	return nil
}

// subject is that of one role's certificate.
func (o *InitOptions) subject(r role) pkix.Name {
	name := o.Subject
	name.CommonName += " " + r.suffix
	if o.Name != "" && r.issue != nil {
		name.CommonName += " " + o.Name
	}
	return name
}

// pairs lists what is to be made, with its paths.
func (o *InitOptions) pairs(dir string) []KeyPair {
	var pairs []KeyPair
	for _, r := range roles() {
		if r.extra != "" && !slices.Contains(o.With, r.extra) || r.issue == nil && o.CA != nil || r.issue != nil && o.OnlyCA {
			continue
		}
		name := o.fileName(r)
		base := filepath.Join(dir, name)
		p := KeyPair{Name: name, Key: base + ".key", PEM: base + ".crt"}
		if r.issue != nil {
			p.DER = base + ".der" // the form that the kernel loads at boot
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// make makes a pair's key and certificate. The first is the CA's, unless one was
// given.
func (w *work) make(ctx context.Context, p *KeyPair) error {
	o := w.options
	r := roles()[slices.IndexFunc(roles(), func(r role) bool { return o.fileName(r) == p.Name })]
	made, err := o.privateKey(ctx, p.Name)
	if err != nil {
		return err
	}
	w.made = append(w.made, made)
	request := Request{Subject: o.subject(r), NotBefore: o.NotBefore, Days: o.Days}
	if r.issue == nil {
		p.Certificate, err = NewCA(made.Key, request)
		w.ca = Issuer{p.Certificate, made.Key}
	} else {
		p.Certificate, err = r.issue(w.ca, made.Key.Public(), request)
	}
	if err != nil {
		return err
	}
	if made.Certify != nil {
		if err := made.Certify(ctx, p.Certificate); err != nil {
			return err
		}
	}
	w.write(p, made.File)
	return nil
}

// write notes the files of a pair.
func (w *work) write(p *KeyPair, private []byte) {
	if private == nil {
		p.Key = ""
	} else {
		w.files = append(w.files, newFile{p.Key, private, 0o600})
	}
	w.files = append(w.files, newFile{p.PEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate.Raw}), 0o644})
	if p.DER != "" {
		w.files = append(w.files, newFile{p.DER, slices.Clone(p.Certificate.Raw), 0o644})
	}
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
