package remote

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// maxFile is the size in bytes of the largest file that a URI names.
const maxFile = 1 << 20

// identity is who asks: the key for envelopes, and the certificate for TLS.
type identity struct {
	key         ed25519.PrivateKey
	certificate tls.Certificate
}

// identify reads the requester's key and client certificate.
func (o opener) identify(ctx context.Context, l *location, opts keystore.Options) (*identity, error) {
	found, err := o.readPEM(ctx, "identity", l.identity, opts)
	if err != nil {
		return nil, err
	}
	key, ok := found.key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("identity: %w: it must have one Ed25519 private key in PEM (PKCS #8), as `serve init` and openssl genpkey make it", keystore.ErrNotAKey)
	}
	chain, private := found.certificates, found.key
	if l.clientCert != "" {
		other, err := o.readPEM(ctx, "client-cert", l.clientCert, opts)
		if err != nil {
			return nil, err
		}
		if chain = other.certificates; other.key != nil && l.clientKey == "" {
			private = other.key
		}
	}
	if l.clientKey != "" {
		other, err := o.readPEM(ctx, "client-key", l.clientKey, opts)
		if err != nil {
			return nil, err
		}
		private = other.key
	}
	certificate, err := clientCertificate(chain, private)
	return &identity{key, certificate}, err
}

func clientCertificate(chain []*x509.Certificate, private crypto.Signer) (c tls.Certificate, err error) {
	if len(chain) == 0 {
		return c, errors.New("no client certificate: append it to the file that identity names, or name it with client-cert=FILE")
	}
	own, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if private == nil || !ok || !own.Equal(private.Public()) {
		return c, fmt.Errorf("%w: the client certificate of %q is for another key: client-key=FILE names its key", keystore.ErrCertificateMismatch, chain[0].Subject)
	}
	if now := time.Now(); now.After(chain[0].NotAfter) {
		return c, fmt.Errorf("the client certificate of %q expired on %s: get a new one from the service's administrator", chain[0].Subject, chain[0].NotAfter.UTC().Format(time.DateOnly))
	}
	c.PrivateKey, c.Leaf = private, chain[0]
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c, nil
}

// pemFile is what a PEM file has.
type pemFile struct {
	key          crypto.Signer
	certificates []*x509.Certificate
}

// readPEM reads the file of the attribute name. Other blocks than keys and certificates are
// ignored.
func (o opener) readPEM(ctx context.Context, name, source string, opts keystore.Options) (*pemFile, error) {
	data, err := opts.ContentAt(ctx, source, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer clear(data)
	var f pemFile
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := o.add(ctx, &f, name, block, opts); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if f.key == nil && f.certificates == nil {
		return nil, fmt.Errorf("%s: %w: it has no private key and no certificate in PEM", name, keystore.ErrNotAKey)
	}
	return &f, nil
}

func (o opener) add(ctx context.Context, f *pemFile, name string, block *pem.Block, opts keystore.Options) (err error) {
	der := block.Bytes
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a certificate in it is damaged: %w", quote.Plain(err))
		}
		f.certificates = append(f.certificates, cert)
		return nil
	case "ENCRYPTED PRIVATE KEY":
		if o.decrypt == nil {
			return fmt.Errorf("%w: it is encrypted", keystore.ErrUnsupportedKey)
		}
		if der, err = o.decrypt(ctx, name, der, opts.Secret); err != nil {
			return err
		}
		defer clear(der)
	case "PRIVATE KEY":
		defer clear(der)
	case "EC PRIVATE KEY", "RSA PRIVATE KEY":
		return fmt.Errorf("%w: %q, not PKCS #8: openssl pkcs8 converts it", keystore.ErrUnsupportedKey, block.Type)
	default:
		return nil
	}
	if f.key != nil {
		return keystore.ErrSeveralKeys
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("%w: its PKCS #8 structure is damaged, or of an algorithm that TLS lacks", keystore.ErrNotAKey)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%w: it does not sign", keystore.ErrUnsupportedKey)
	}
	f.key = signer
	return nil
}

// authorities returns the roots that server certificates must chain to, nil for the system's.
func (o opener) authorities(ctx context.Context, l *location, opts keystore.Options) (*x509.CertPool, error) {
	if l.ca == "" {
		return nil, nil
	}
	found, err := o.readPEM(ctx, "ca", l.ca, opts)
	if err != nil {
		return nil, err
	}
	if found.certificates == nil {
		return nil, fmt.Errorf("ca: it has no certificate")
	}
	pool := x509.NewCertPool()
	for _, cert := range found.certificates {
		pool.AddCert(cert)
	}
	return pool, nil
}

// logKeys returns the verifiers of the servers' logs, nil if the URI names none.
func logKeys(ctx context.Context, l *location, opts keystore.Options) ([]note.Verifier, error) {
	if l.log == "" {
		return nil, nil
	}
	data, err := opts.ContentAt(ctx, l.log, maxFile)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return parseLogKeys(string(data))
}
