package remote

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// window is how many requests are on their way at a time.
const window = 4

// open opens the key that an https: URI names.
func (o opener) open(ctx context.Context, uri string, opts keystore.Options) (*keystore.Key, error) {
	l, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if l.key == "" {
		return nil, fmt.Errorf("%w: it names no key: https://HOST:PORT/NAME?identity=FILE&ca=FILE", ErrURI)
	}
	k, err := o.newKey(ctx, l, opts)
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", l, err)
	}
	if err := k.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open key %s: %w", l, k.translate(err)), k.close())
	}
	return k.opened(), nil
}

// start asks the servers about the key. If nothing listens, as while a service is restarted, it
// waits for as long as the URI says, if it does.
func (k *key) start(ctx context.Context) error {
	err := k.servers.start(ctx)
	if err == nil || !k.where.patient || !errors.Is(err, syscall.ECONNREFUSED) && !isClosed(err) {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, k.where.timeout, fmt.Errorf("no server has answered within %s", k.where.timeout))
	defer cancel()
	return k.servers.await(ctx)
}

func (o opener) newKey(ctx context.Context, l *location, opts keystore.Options) (*key, error) {
	k := &key{where: l, options: opts, pace: newPace(), receipt: opts.Receipt}
	var err error
	if k.client, k.who, err = o.client(ctx, l, opts); err != nil {
		return nil, err
	}
	if k.logs, err = logKeys(ctx, l, opts); err != nil {
		return nil, err
	}
	if cert := opts.Certificate; cert != nil {
		k.spki = cert.RawSubjectPublicKeyInfo
		if k.public, err = ima.CertificateKey(cert); err != nil {
			return nil, err
		}
	}
	k.servers = newServers(l.servers, k.examine, opts.Warnf)
	return k, nil
}

// opened returns the key for callers.
func (k *key) opened() *keystore.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.options.Certificate == nil {
		k.options.Warnf("the certificate of %s %s", k.where, keystore.FromService)
	}
	k.fast = fastVerifier(k.public)
	batch := protocol.MaxDigests
	if _, is := k.public.Public().(*rsa.PublicKey); is {
		batch = 256 // takes a tenth of a second or more
	}
	return &keystore.Key{
		Signer: k, Public: k.public, Slow: true, Whole: true, Batch: batch, Parallelism: window,
		Provider: "signing service at " + strings.Join(k.where.servers, ", "), Release: k.close,
	}
}

// examine asks a server about the key. The first one that answers decides which key it is,
// unless there is a certificate. Any other key is [errWrongKey].
func (k *key) examine(ctx context.Context, server string) error {
	info, err := k.describe(ctx, server)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.public == nil {
		if k.public, err = publicOf(info); err != nil {
			return err
		}
		k.spki = info.SPKI
	}
	if err := k.compare(info); err != nil {
		return err
	}
	if info.Headers {
		k.headers.Store(true)
	}
	return nil
}

// compare compares the key of a server with the one that signatures are verified with. The
// caller holds k.mu.
func (k *key) compare(info *protocol.KeyInfo) error {
	if !bytes.Equal(info.SPKI, k.spki) {
		return errWrongKey
	}
	if len(info.Certificate) == 0 {
		return nil
	}
	cert, err := keystore.ParseCertificate(info.Certificate)
	if err != nil {
		return fmt.Errorf("%w: its certificate: %w", errForeign, quote.Plain(err))
	}
	if !bytes.Equal(cert.RawSubjectPublicKeyInfo, k.spki) {
		return fmt.Errorf("%w: its certificate belongs to another key", errForeign)
	}
	if k.options.Certificate != nil {
		return nil // it decides about the key id
	}
	if other, err := ima.CertificateKey(cert); err == nil && other.ID() != k.public.ID() {
		return fmt.Errorf("%w: key id %s by its certificate, %s here", errWrongKey, other.ID(), k.public.ID())
	}
	return nil
}

// publicOf returns the public key in a description.
func publicOf(info *protocol.KeyInfo) (*ima.PublicKey, error) {
	public, err := parsePublic(info.SPKI)
	if err != nil {
		return nil, fmt.Errorf("%w: its public key: %w", errForeign, quote.Plain(err))
	}
	var cert *x509.Certificate
	if len(info.Certificate) > 0 {
		if cert, err = keystore.ParseCertificate(info.Certificate); err != nil {
			return nil, fmt.Errorf("%w: its certificate: %w", errForeign, quote.Plain(err))
		}
	}
	return keystore.Bind(public, cert)
}

func parsePublic(spki []byte) (crypto.PublicKey, error) {
	if key, err := mldsa.ParsePKIXPublicKey(spki); key != nil || err != nil {
		return key, err
	}
	return x509.ParsePKIXPublicKey(spki)
}
