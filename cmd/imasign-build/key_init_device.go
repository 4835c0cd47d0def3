package main

import (
	"context"
	"crypto/x509"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// deviceKeys are the keys that `key init` opens and makes in devices.
type deviceKeys struct {
	*app
	on, dir string
	backend keystore.Backend
	options keystore.Options
	forget  func() // overwrites the PIN
	open    []*keystore.Key
	uris    map[string]string // by the name of the key
	first   bool              // the next key is the CA's
}

// devices opens the CA and prepares to make keys in the device that --on names.
func (o *keyInitOptions) devices(ctx context.Context, a *app, init *certs.InitOptions, dir string) (*deviceKeys, error) {
	d := &deviceKeys{app: a, on: o.on, dir: dir, uris: map[string]string{}, forget: func() {}, first: o.ca.key == ""}
	if o.ca.key == "" && (o.ca.cert != "" || o.ca.pass != "") {
		return nil, usagef("--ca and --ca-pass need --ca-key")
	}
	if o.ca.key != "" {
		ca, err := o.ca.open(ctx, a)
		if err != nil {
			return nil, err
		}
		d.open = append(d.open, ca)
		if ca.Public.Certificate() == nil {
			d.close()
			return nil, usagef("no certificate of the CA was given: --ca FILE")
		}
		if !ca.Public.Certificate().IsCA {
			d.close()
			return nil, usagef("--ca %s: not a CA certificate: name the certificate of the key that certifies, such as system_trusted_key.crt", quote.Name(o.ca.cert))
		}
		init.CA = &certs.Issuer{Certificate: ca.Public.Certificate(), Key: ca.CryptoSigner(ctx)}
	}
	if o.on == "" {
		return d, nil
	}
	scheme, _, _ := strings.Cut(o.on, ":")
	if d.backend, _ = a.backends.Find(scheme); d.backend.Generate == nil {
		d.close()
		return nil, usagef("--on needs a URI that begins with pkcs11: or tpm2:")
	}
	if err := d.secret(o.key.pass, scheme); err != nil {
		d.close()
		return nil, err
	}
	init.Make = d.make
	return d, nil
}

// secret sets up the PIN or authorization value, which is read once for all keys. The PIN
// of a token may come from the terminal. The new keys of a TPM get an authorization value
// only if a source is given.
func (d *deviceKeys) secret(source, scheme string) error {
	d.options = keystore.Options{Getenv: d.getenv, Warn: d.warn}
	if source == "" && scheme != "pkcs11" {
		return nil
	}
	secret, err := d.app.secret("--key-pass", source)
	if err != nil || secret == nil {
		return err
	}
	d.options.Secret, d.forget = remembered(secret)
	return nil
}

func (d *deviceKeys) make(ctx context.Context, name, algorithm string) (*certs.Made, error) {
	made, err := d.backend.Generate(ctx, d.on, keystore.Request{Name: name, Algorithm: algorithm}, d.options)
	if err != nil {
		return nil, err
	}
	isCA := d.first
	d.first = false
	d.open = append(d.open, made.Key)
	d.uris[name] = made.URI
	if made.URI == "" { // a wrapped key, which is opened by its file
		_, query, _ := strings.Cut(d.on, "?")
		path := (&url.URL{Path: filepath.Join(d.dir, name+".key")}).EscapedPath()
		d.uris[name] = "tpm2:" + path + "?" + query
	}
	certify := func(ctx context.Context, cert *x509.Certificate) error {
		if made.Certify != nil {
			return made.Certify(ctx, cert)
		}
		if isCA || made.Discard != nil {
			return nil // the key is still needed
		}
		return made.Close() // a TPM has few places for keys
	}
	return &certs.Made{Key: made.CryptoSigner(ctx), File: made.File, Certify: certify, Discard: made.Discard}, nil
}

func (d *deviceKeys) close() {
	for _, key := range slices.Backward(d.open) {
		_ = key.Close() // nothing is left to be lost
	}
	d.forget()
}
