//go:build cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// open opens the private key that a PKCS#11 URI names.
func (s *store) open(ctx context.Context, uri string, opts keystore.Options) (*keystore.Key, error) {
	l, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	k, err := s.connect(ctx, l, opts)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	key, err := k.open(ctx, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open key %s: %w", l, err), k.close())
	}
	return key, nil
}

// connect finds the token and the source of its PIN. It opens no session yet.
func (s *store) connect(ctx context.Context, l *location, opts keystore.Options) (*signer, error) {
	secret := opts.Secret
	if l.pinSource != "" {
		var err error
		if secret, err = opts.SecretAt(l.pinSource); err != nil {
			return nil, fmt.Errorf("%s: pin-source: %w", l, err)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t, err := s.find(ctx, l)
	if err != nil {
		return nil, err
	}
	return &signer{store: s, login: &login{token: t, secret: secret}, where: l, done: make(chan struct{})}, nil
}

// pauses is how long to wait before a token that was not found is looked for again. SoftHSM2
// misses a token while another process writes to it, as each login does.
var pauses = [...]time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond}

// find finds the token, and initialises the module anew if it has to look again: some modules
// look only then. The caller releases the token's module.
func (s *store) find(ctx context.Context, l *location) (*token, error) {
	for i := 0; ; i++ {
		m, err := s.acquire(l.module)
		if err != nil {
			return nil, err
		}
		t, err := m.find(l)
		if err == nil {
			return t, nil
		}
		err = errors.Join(err, s.release(m))
		if i == len(pauses) || !errors.Is(err, keystore.ErrNotFound) {
			return nil, err
		}
		select {
		case <-time.After(pauses[i]):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// open finds the key and opens the sessions of the pool.
func (k *signer) open(ctx context.Context, opts keystore.Options) (*keystore.Key, error) {
	first, err := k.reconnect(ctx)
	if err != nil {
		return nil, err
	}
	n := grants(k.info)
	k.sessions = make(chan *session, n)
	k.sessions <- first
	k.total = 1
	public, err := k.inspect(view{k.token, first.handle}, first.key, opts)
	if err != nil {
		return nil, err
	}
	k.fill(first.key, n)
	model := strings.TrimSpace(k.info.ManufacturerID + " " + k.info.Model)
	opened := keystore.NewKey(k, public)
	opened.Slow = true
	opened.Parallelism = k.total + (k.total+3)/4 // so that no session waits while signatures are verified and stored
	opened.Batch = 16                            // the caller stores each batch; few, so that an interrupt loses little
	opened.Release = k.close
	opened.Provider = fmt.Sprintf("PKCS#11 token %q (%s)", k.info.Label, model)
	return opened, nil
}

// fill opens sessions until there are n, or the token grants no more.
func (k *signer) fill(key p11.ObjectHandle, n int) {
	for k.total < n {
		sh, err := k.OpenSession(k.slot, readOnly)
		if err != nil {
			return
		}
		k.sessions <- &session{sh, key, true}
		k.total++
	}
}

// inspect reads the public key and the certificate, and warns about a key that can leave
// the token.
func (k *signer) inspect(v view, key p11.ObjectHandle, opts keystore.Options) (*ima.PublicKey, error) {
	if sign := v.attribute(key, p11.CKA_SIGN); len(sign) == 1 && sign[0] == 0 {
		return nil, fmt.Errorf("%w: its CKA_SIGN is false", keystore.ErrKeyUse)
	}
	if v.isSet(key, p11.CKA_EXTRACTABLE) {
		opts.Warnf("the private key %s %s %s (CKA_EXTRACTABLE)", v.describe(key), keystore.NotBound, v.token)
	}
	k.always = v.isSet(key, p11.CKA_ALWAYS_AUTHENTICATE)
	public, err := v.publicKey(key)
	if err != nil {
		return nil, err
	}
	cert := opts.Certificate
	if cert == nil {
		if cert, err = v.certificate(key, public); err != nil {
			return nil, err
		}
	}
	if public == nil && cert != nil {
		public = cert.PublicKey // verifies every signature
	}
	if public == nil {
		return nil, fmt.Errorf("%s: %w", v.token, ErrNoPublicKey)
	}
	bound, err := keystore.Bind(public, cert)
	if err != nil {
		return nil, err
	}
	k.mechanism, err = mechanismOf(bound.Public())
	return bound, err
}
