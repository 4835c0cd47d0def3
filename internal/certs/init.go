package certs

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Made is a private key that InitOptions.Make made.
type Made struct {
	Key crypto.Signer
	// File is the content of the key file; nil if there is none.
	File []byte
	// Certify receives the key's certificate; it may be nil.
	Certify func(context.Context, *x509.Certificate) error
	// Discard deletes the key if a later step fails; it may be nil.
	Discard func() error
}

// KeyPair is a key and its certificate, made by Init.
type KeyPair struct {
	Name        string            // of the files, without extension
	Key         string            // path of the private key, mode 0600; "" if it has no file
	PEM, DER    string            // paths of the certificate; DER is "" for the system CA
	Certificate *x509.Certificate // key id: ima.KeyIDFromCertificate
}

// Files lists the paths.
func (p KeyPair) Files() []string {
	return slices.DeleteFunc([]string{p.Key, p.PEM, p.DER}, func(path string) bool { return path == "" })
}

// Init makes keys and certificates in dir, with the file names that Yocto layers expect:
// system_trusted_key.{key,crt} is the CA, x509_ima.{key,crt,der} signs files, and With adds
// x509_ima_rpm (rpm), x509_evm (evm) and x509_secondary (secondary, a CA). It creates dir if
// dir does not exist.
//
// It overwrites nothing: if any of the files exist, the error is [ErrExists] and lists them.
// If anything fails, Init removes what it wrote and discards what Make made. A wrong option
// is [ErrOption].
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

// work holds what Init has made so far.
type work struct {
	options *InitOptions
	ca      Issuer
	files   []newFile
	made    []*Made
}

// end overwrites the private keys in memory. If Init failed, it also discards what Make made.
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

// pairs lists the key pairs to make, with their paths.
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

// make makes the key and the certificate of a pair. The first pair is the CA, unless a CA was
// given.
func (w *work) make(ctx context.Context, p *KeyPair) error {
	o := w.options
	r := roles()[slices.IndexFunc(roles(), func(r role) bool { return o.fileName(r) == p.Name })]
	made, err := o.privateKey(ctx, r)
	if err != nil {
		return err
	}
	w.made = append(w.made, made)
	request := Request{Subject: o.subject(r), NotBefore: o.NotBefore, Days: o.Days, Purpose: o.purpose(r), InExtension: o.InExtension}
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

// write adds the files of a pair to those to be written.
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
