package tpm

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// open opens the key that a tpm2: URI names.
func (s *store) open(ctx context.Context, uri string, opts keystore.Options) (*keystore.Key, error) {
	l, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	k := &key{store: s, where: l}
	if l.handle == 0 {
		if l.path == "" {
			return nil, fmt.Errorf("%w: it names no key: tpm2:PATH or tpm2:0x81000001", ErrURI)
		}
		if k.file, err = readFile(ctx, l.path); err != nil {
			return nil, fmt.Errorf("open key %s: %w", l, err)
		}
	}
	return k.openWith(ctx, opts)
}

func (k *key) openWith(ctx context.Context, opts keystore.Options) (*keystore.Key, error) {
	opened, err := k.open(ctx, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open key %s: %w", k.where, translate(err)), k.close())
	}
	return opened, nil
}

func (k *key) open(ctx context.Context, opts keystore.Options) (_ *keystore.Key, err error) {
	if k.device, err = k.store.acquire(k.where.device); err != nil {
		return nil, err
	}
	if err := k.authorize(ctx, opts); err != nil {
		return nil, err
	}
	if err := k.device.do(ctx, func() (err error) { k.loaded, err = k.load(); return err }); err != nil {
		return nil, err
	}
	if k.bound, err = usable(&k.loaded.public); err != nil {
		return nil, err
	}
	public, err := k.identify(opts)
	if err != nil {
		return nil, err
	}
	if !k.loaded.public.ObjectAttributes.FixedTPM {
		opts.Warnf("the private key %s %s the TPM (its attribute fixedtpm is not set)", k.where, keystore.NotBound)
	}
	if err := k.prove(ctx, public); err != nil {
		return nil, err
	}
	opened := keystore.NewKey(k, public)
	opened.Slow, opened.Parallelism, opened.Batch = true, 1, 1 // because a TPM takes some tenths of a second for it
	opened.Provider, opened.Release = "TPM 2.0 at "+k.where.device, k.close
	return opened, nil
}

const ownerPrompt = "authorization value of the TPM's owner"

// secretOf returns the value from a source in the URI. The sources "" and none are an empty
// value.
func secretOf(ctx context.Context, opts keystore.Options, source, prompt string) ([]byte, error) {
	if source == "" || source == "none" {
		return nil, nil
	}
	secret, err := opts.SecretAt(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", prompt, err)
	}
	value, err := secret(ctx, prompt)
	if err != nil {
		clear(value)
		return nil, fmt.Errorf("%s: %w", prompt, err)
	}
	return value, nil
}

// authorize gets the authorization values of the key and of the owner.
func (k *key) authorize(ctx context.Context, opts keystore.Options) (err error) {
	if k.authorized { // the key was just made
		return nil
	}
	if k.owner, err = secretOf(ctx, opts, k.where.owner, ownerPrompt); err != nil {
		return err
	}
	prompt := "authorization value of " + k.where.String()
	if k.where.auth != "" {
		k.auth, err = secretOf(ctx, opts, k.where.auth, prompt)
		return err
	}
	wanted, err := k.wantsAuth(ctx)
	if err != nil || !wanted {
		return err
	}
	if opts.Secret == nil {
		if k.file == nil {
			return nil // the value may be empty
		}
		return keystore.ErrPINNeeded
	}
	k.auth, err = opts.Secret(ctx, prompt)
	if err != nil {
		return fmt.Errorf("%s: %w", prompt, err)
	}
	return nil
}

func (k *key) wantsAuth(ctx context.Context) (wanted bool, err error) {
	if k.file != nil {
		return !k.file.key.EmptyAuth, nil
	}
	err = k.device.do(ctx, func() error {
		l, err := readPersistent(k.device, tpm2.TPMHandle(k.where.handle))
		if err != nil {
			return err
		}
		if _, err := usable(&l.public); err != nil {
			return err // before anybody is asked
		}
		wanted = !l.public.ObjectAttributes.NoDA
		return nil
	})
	return wanted, err
}

// identify compares the key with its certificate.
func (k *key) identify(opts keystore.Options) (*ima.PublicKey, error) {
	public, err := tpm2.Pub(k.loaded.public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keystore.ErrUnsupportedKey, err)
	}
	cert := opts.Certificate
	if cert == nil && k.file != nil {
		cert = certificateOf(public, k.file.certificates)
	}
	k.public = public
	return keystore.Bind(public, cert)
}

// certificateOf returns the certificate that belongs to public. If none does, it returns the
// first one, which Bind refuses, or nil.
func certificateOf(public crypto.PublicKey, list []*x509.Certificate) *x509.Certificate {
	own, _ := public.(interface{ Equal(crypto.PublicKey) bool })
	i := slices.IndexFunc(list, func(c *x509.Certificate) bool { return own != nil && own.Equal(c.PublicKey) })
	switch {
	case i >= 0:
		return list[i]
	case len(list) > 0:
		return list[0]
	}
	return nil
}

// prove makes one signature. Nothing else shows whether the authorization value is right.
func (k *key) prove(ctx context.Context, public *ima.PublicKey) error {
	h, err := hashOf(k.bound)
	if err != nil {
		return err
	}
	digest := make([]byte, h.Size())
	sigs, err := k.signAll(ctx, h, [][]byte{digest})
	if errors.Is(err, keystore.ErrWrongPIN) && len(k.auth) == 0 {
		return fmt.Errorf("%w: %w", keystore.ErrPINNeeded, err)
	}
	if err != nil {
		return err
	}
	id, _ := ima.HashIDOf(h) // every hash of a TPM has an id
	return public.Verify(ima.Statement{Form: ima.ContentSignature(), Hash: id, Digest: digest}, sigs[0])
}
