package file

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"sync/atomic"

	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// sign returns a Key that signs with private. CIRCL signs ML-DSA. libcrypto signs RSA, and
// verifies RSA and ECDSA. If it is unavailable, Go's own packages make the same bytes; if it fails, opts.Warn
// is told. With opts.Unverified, ECDSA signatures are not verified.
func sign(private crypto.Signer, public *ima.PublicKey, opts keystore.Options) *keystore.Key {
	if private, ok := private.(*mldsa.PrivateKey); ok {
		s := &goSigner{}
		var raw ima.RawSigner = private
		s.raw.Store(&raw)
		return newKey(s, public, "circl", s.Close)
	}
	_, unverified := private.(*ecdsa.PrivateKey)
	if unverified = unverified && opts.Unverified; !unverified {
		key, err := openLibcrypto(private, public)
		if err == nil {
			return key
		}
		if !errors.Is(err, libcrypto.ErrUnavailable) {
			opts.Warnf("%v: signing without libcrypto, which is slower", err)
		}
	}
	key := signInGo(private, public)
	key.Unverified = unverified
	return key
}

func signInGo(private crypto.Signer, public *ima.PublicKey) *keystore.Key {
	name := "crypto/ecdsa"
	if _, ok := private.(*rsa.PrivateKey); ok {
		name = "crypto/rsa"
	}
	s := &goSigner{}
	raw := ima.CryptoSigner(private)
	s.raw.Store(&raw)
	return newKey(s, public, name, s.Close)
}

// goSigner signs with Go's own packages until it is closed.
type goSigner struct{ raw atomic.Pointer[ima.RawSigner] }

func (s *goSigner) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	raw := s.raw.Load()
	if raw == nil {
		return nil, keystore.ErrClosed
	}
	return (*raw).SignRaw(ctx, h, digests)
}

// Close drops the private key.
func (s *goSigner) Close() error {
	s.raw.Store(nil)
	return nil
}

// provider is a key that libcrypto has opened.
type provider interface {
	ima.RawSigner
	ima.SelfVerifying
	Close() error
}

func openLibcrypto(private crypto.Signer, public *ima.PublicKey) (*keystore.Key, error) {
	library, err := libcrypto.Load()
	if err != nil {
		return nil, err
	}
	var s provider
	name := "libcrypto " + library.Version()
	switch certified := public.Public().(type) {
	case *rsa.PublicKey:
		s, err = library.NewRSA(private.(*rsa.PrivateKey), certified)
	case *ecdsa.PublicKey:
		s, err = library.NewECDSA(private.(*ecdsa.PrivateKey), certified)
		name = "crypto/ecdsa, " + name
	}
	if err != nil {
		return nil, err
	}
	return newKey(s, public, name, s.Close), nil
}

func newKey(raw ima.RawSigner, public *ima.PublicKey, provider string, release func() error) *keystore.Key {
	key := keystore.NewKey(raw, public)
	key.Provider, key.Release = provider, release
	return key
}
