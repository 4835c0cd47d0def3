package file

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"

	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/internal/p256"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// sign makes a Key of a private key. P-256 has its own room; libcrypto signs RSA and
// verifies RSA and the other curves. When it cannot be had, Go's own packages make the
// same bytes, so this is worth a warning at most.
func sign(private crypto.Signer, public *ima.PublicKey, opts keystore.Options) *keystore.Key {
	if key := openP256(private, public); key != nil {
		return key
	}
	key, err := openLibcrypto(private, public)
	if err == nil {
		return key
	}
	if !errors.Is(err, libcrypto.ErrUnavailable) {
		opts.Warnf("%v: signing without libcrypto, which is slower", err)
	}
	name := "crypto/ecdsa"
	if _, ok := private.(*rsa.PrivateKey); ok {
		name = "crypto/rsa"
	}
	return newKey(ima.CryptoSigner(private), public, name, nil)
}

// openP256 returns nil for any other key.
func openP256(private crypto.Signer, public *ima.PublicKey) *keystore.Key {
	ours, ok := private.(*ecdsa.PrivateKey)
	certified, same := public.Public().(*ecdsa.PublicKey)
	if !ok || !same {
		return nil
	}
	signer, err := p256.NewSigner(ours, certified)
	if err != nil {
		return nil
	}
	return newKey(signer, public, "crypto/ecdsa", signer.Close)
}

// provider is what libcrypto makes of a key.
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
