package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// generate makes a key in the TPM that uri names.
func (s *store) generate(ctx context.Context, uri string, r keystore.Request, opts keystore.Options) (*keystore.Generated, error) {
	l, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if l.handle != 0 || l.path != "" {
		return nil, fmt.Errorf("%w: a new key is made by tpm2:?device=…, its file is named after it", ErrURI)
	}
	if _, err := template(r.Algorithm); err != nil { // before an authorization value is asked for
		return nil, fmt.Errorf("make key %s: %w", r.Name, err)
	}
	k := &key{store: s, where: &location{path: r.Name, device: l.device, auth: l.auth, owner: l.owner}}
	if err := k.generate(ctx, r.Algorithm, opts); err != nil {
		k.forget()
		return nil, errors.Join(fmt.Errorf("make key %s in the TPM at %s: %w", r.Name, l.device, translate(err)), k.close())
	}
	var file bytes.Buffer
	if err := keyfile.Encode(&file, k.file.key); err != nil {
		return nil, errors.Join(err, k.close())
	}
	opened, err := k.openWith(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &keystore.Generated{Key: opened, File: file.Bytes()}, nil
}

func (k *key) generate(ctx context.Context, algorithm string, opts keystore.Options) (err error) {
	public, err := template(algorithm)
	if err != nil {
		return err
	}
	device, err := k.store.acquire(k.where.device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.store.release(device)) }()
	if err := k.choose(ctx, opts); err != nil {
		return err
	}
	return device.do(ctx, func() (err error) {
		parent, err := createPrimary(device, tpm2.TPMRHOwner, k.owner)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, parent.flush()) }()
		made, err := tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: parent.handle, Name: parent.name, Auth: parent.once(nil)},
			InSensitive:  tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: k.auth}}},
			InPublic:     tpm2.New2B(*public),
		}.Execute(device)
		if err != nil {
			return err
		}
		key := keyfile.NewTPMKey(keyfile.OIDLoadableKey, made.OutPublic, made.OutPrivate)
		key.EmptyAuth = len(k.auth) == 0
		k.file = &contents{key: key}
		return nil
	})
}

// choose reads the authorization values of the new key and of the owner.
func (k *key) choose(ctx context.Context, opts keystore.Options) (err error) {
	k.authorized = true
	if k.owner, err = secretOf(ctx, opts, k.where.owner, ownerPrompt); err != nil {
		return err
	}
	prompt := "authorization value for the new key " + k.where.path
	if k.where.auth == "" && opts.Secret != nil {
		k.auth, err = opts.Secret(ctx, prompt)
		return err
	}
	k.auth, err = secretOf(ctx, opts, k.where.auth, prompt)
	return err
}

// template describes an unrestricted signing key that cannot leave its TPM.
func template(algorithm string) (*tpm2.TPMTPublic, error) {
	t := &tpm2.TPMTPublic{NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true,
	}}
	if bits := map[string]tpm2.TPMKeyBits{"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}[algorithm]; bits > 0 {
		t.Type = tpm2.TPMAlgRSA
		t.Parameters = tpm2.NewTPMUPublicParms(t.Type, &tpm2.TPMSRSAParms{KeyBits: bits})
		return t, nil
	}
	curve := map[string]tpm2.TPMECCCurve{"p256": tpm2.TPMECCNistP256, "p384": tpm2.TPMECCNistP384}[algorithm]
	switch {
	case strings.HasPrefix(algorithm, "mldsa"):
		return nil, fmt.Errorf("%w: ML-DSA, which TPMs have since version 1.85 of the TPM 2.0 library, is supported in files only", keystore.ErrUnsupportedKey)
	case curve == 0:
		return nil, fmt.Errorf("%w: algorithm %q", keystore.ErrUnsupportedKey, algorithm)
	}
	t.Type = tpm2.TPMAlgECC
	t.Parameters = tpm2.NewTPMUPublicParms(t.Type, &tpm2.TPMSECCParms{CurveID: curve})
	return t, nil
}
