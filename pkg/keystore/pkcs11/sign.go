//go:build cgo

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// signer is an [ima.RawSigner] over a pool of sessions. Each batch takes one of them.
type signer struct {
	*login
	store     *store
	where     *location
	mechanism mechanism
	always    bool // CKA_ALWAYS_AUTHENTICATE

	sessions  chan *session
	total     int
	done      chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// SignRaw signs the digests one after the other in one session. It obeys ctx between
// signatures and while it waits for a session. A call into the token cannot be interrupted.
func (k *signer) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	if err := ima.CheckDigests(h, digests); err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k.where, err)
	}
	s, err := k.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { k.sessions <- s }()
	sigs := make([][]byte, len(digests))
	for i, digest := range digests {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if sigs[i], err = k.signOne(ctx, s, h, digest); err != nil {
			return nil, fmt.Errorf("sign with %s: %w", k.where, translate(err))
		}
	}
	return sigs, nil
}

func (k *signer) take(ctx context.Context) (*session, error) {
	select {
	case <-k.done:
		return nil, keystore.ErrClosed
	default:
	}
	select {
	case s := <-k.sessions:
		return s, nil
	case <-k.done:
		return nil, keystore.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// signOne makes one signature. If the session is lost, it tries once more with a new one.
func (k *signer) signOne(ctx context.Context, s *session, h crypto.Hash, digest []byte) ([]byte, error) {
	input, err := k.mechanism.input(h, digest)
	if err != nil {
		return nil, err
	}
	raw, err := k.signIn(ctx, s, input)
	if isLost(err) {
		if err := k.renew(ctx, s); err != nil {
			return nil, err
		}
		raw, err = k.signIn(ctx, s, input)
	}
	if err != nil {
		return nil, err
	}
	return k.mechanism.output(raw)
}

func (k *signer) signIn(ctx context.Context, s *session, input []byte) ([]byte, error) {
	if !s.open {
		return nil, p11.Error(p11.CKR_SESSION_CLOSED)
	}
	if err := k.SignInit(s.handle, k.mechanism.list(), s.key); err != nil {
		return nil, err
	}
	if k.always {
		if err := k.again(ctx, s.handle); err != nil {
			return nil, err
		}
	}
	raw, code, err := k.checked.Sign(uint(s.handle), input, maxSignature)
	return raw, errors.Join(err, answer(code))
}

// maxSignature bounds the size of a signature, in bytes.
const maxSignature = 4096

// reconnect opens a session, logs in if necessary, and finds the key.
func (k *signer) reconnect(ctx context.Context) (*session, error) {
	sh, err := k.connect(ctx, readOnly)
	if err != nil {
		return nil, err
	}
	key, err := view{k.token, sh}.privateKey(k.where)
	if err != nil {
		_ = k.CloseSession(sh) // err is the first error
		return nil, err
	}
	return &session{sh, key, true}, nil
}

// renew replaces a lost session.
func (k *signer) renew(ctx context.Context, s *session) error {
	if s.open {
		_ = k.CloseSession(s.handle) // it is lost
		s.open = false
	}
	fresh, err := k.reconnect(ctx)
	if errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("%w: %w", keystore.ErrGone, err)
	}
	if err != nil {
		return fmt.Errorf("the session was lost: %w", err)
	}
	*s = *fresh
	return nil
}

// close waits for running batches, closes the sessions, and overwrites the PIN. The token
// logs out when its last session is closed.
func (k *signer) close() error {
	k.closeOnce.Do(func() {
		close(k.done)
		for range k.total {
			if s := <-k.sessions; s.open {
				_ = k.CloseSession(s.handle) // it may be lost
			}
		}
		k.forget()
		k.closeErr = k.store.release(k.module)
	})
	return k.closeErr
}

// mechanism describes how a type of key signs.
type mechanism struct {
	code   uint
	input  func(h crypto.Hash, digest []byte) ([]byte, error)
	output func(raw []byte) ([]byte, error)
}

func (m mechanism) list() []*p11.Mechanism { return []*p11.Mechanism{p11.NewMechanism(m.code, nil)} }

func mechanismOf(public crypto.PublicKey) (mechanism, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return mechanism{p11.CKM_RSA_PKCS, digestInfo, func(raw []byte) ([]byte, error) { return raw, nil }}, nil
	case *ecdsa.PublicKey:
		size := (public.Params().BitSize + 7) / 8
		return mechanism{p11.CKM_ECDSA, truncated(size), ecdsaOf(size)}, nil
	}
	return mechanism{}, errors.New("neither RSA nor ECDSA")
}
