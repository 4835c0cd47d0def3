package tpm

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// key is an [ima.RawSigner]. The fields below device may only be used in the device's turn.
type key struct {
	store  *store
	where  *location
	file   *contents // nil for a persistent object
	public crypto.PublicKey
	bound  tpm2.TPMAlgID // the one digest algorithm that it signs, TPMAlgNull for any

	device      *device
	loaded      *loaded
	auth, owner []byte // overwritten by close
	authorized  bool   // auth and owner are known
	failed      error  // why the key no longer signs

	closeOnce sync.Once
	closeErr  error
}

// SignRaw signs the digests one after the other. Between two signatures, other workers may
// use the device. ctx is obeyed there.
func (k *key) SignRaw(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	sigs, err := k.signAll(ctx, h, digests)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k.where, err)
	}
	return sigs, nil
}

// signAll is SignRaw. Its errors do not name the key.
func (k *key) signAll(ctx context.Context, h crypto.Hash, digests [][]byte) ([][]byte, error) {
	if err := ima.CheckDigests(h, digests); err != nil {
		return nil, err
	}
	hash, err := k.hash(h)
	if err != nil {
		return nil, err
	}
	sigs := make([][]byte, len(digests))
	for i, digest := range digests {
		err := k.device.do(ctx, func() (err error) { sigs[i], err = k.signOne(hash, digest); return err })
		if err != nil {
			return nil, translate(err)
		}
	}
	return sigs, nil
}

func (k *key) hash(h crypto.Hash) (tpm2.TPMAlgID, error) {
	a, err := algorithmOf(h)
	if err != nil {
		return 0, err
	}
	if k.bound != tpm2.TPMAlgNull && k.bound != a {
		only, err := hashOf(k.bound)
		return 0, errors.Join(err, fmt.Errorf("%w: it signs digests by %s only, not by %s", keystore.ErrKeyUse, only, h))
	}
	return a, nil
}

// signOne makes a signature. The caller has the device's turn. If the key is lost, it is
// loaded once more. An authorization value that was refused is not tried again.
func (k *key) signOne(hash tpm2.TPMAlgID, digest []byte) ([]byte, error) {
	if k.failed != nil {
		return nil, k.failed
	}
	sig, err := k.loaded.sign(k.public, hash, digest)
	if isLost(err) {
		_ = k.loaded.unload() // it is lost
		if k.loaded, err = k.load(); err != nil {
			k.failed = fmt.Errorf("%w: the TPM lost the key, and does not load it again: %w", keystore.ErrGone, translate(err))
			return nil, k.failed
		}
		sig, err = k.loaded.sign(k.public, hash, digest)
	}
	if err = translate(err); errors.Is(err, keystore.ErrWrongPIN) || errors.Is(err, keystore.ErrLocked) {
		k.failed = err
	}
	return sig, err
}

// sign is TPM2_Sign.
func (l *loaded) sign(public crypto.PublicKey, hash tpm2.TPMAlgID, digest []byte) ([]byte, error) {
	scheme, err := schemeFor(public, hash)
	if err != nil {
		return nil, err
	}
	r, err := tpm2.Sign{
		KeyHandle:  tpm2.AuthHandle{Handle: l.handle, Name: l.name, Auth: l.session},
		Digest:     tpm2.TPM2BDigest{Buffer: digest},
		InScheme:   scheme,
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(l.tpm)
	if err != nil {
		return nil, err
	}
	return keyfile.EncodeSignatureASN1(&r.Signature)
}

// forget overwrites the authorization values.
func (k *key) forget() {
	clear(k.auth)
	clear(k.owner)
}

// close frees the key's place in the TPM and overwrites the authorization values.
func (k *key) close() error {
	k.closeOnce.Do(func() {
		if k.device == nil {
			return
		}
		k.closeErr = k.device.last(func() (err error) {
			if k.loaded != nil && !errors.Is(k.failed, keystore.ErrGone) {
				if err = k.loaded.unload(); isLost(err) {
					err = nil // the TPM no longer has the key
				}
			}
			k.failed = keystore.ErrClosed
			k.forget()
			return err
		})
		k.closeErr = errors.Join(k.closeErr, k.store.release(k.device))
	})
	return k.closeErr
}
