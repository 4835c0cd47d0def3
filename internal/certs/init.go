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
