package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// signerFlags are the flags of every command that signs files.
type signerFlags struct {
	key    keyFlags
	engine engineFlags
}

func (f *signerFlags) add(flags *pflag.FlagSet) {
	f.key.add(flags)
	f.engine.addHash(flags)
	f.engine.addJobs(flags)
	f.engine.addReplace(flags)
}

// signer is an engine with its opened key.
type signer struct {
	*signing.Engine

	key    *keystore.Key  // nil in a dry run without a key
	public *ima.PublicKey // nil if no certificate was named either
}

// newSigner opens the key that the flags name. The caller closes the signer.
func newSigner(ctx context.Context, a *app, f *signerFlags, observe signing.Observer) (*signer, error) {
	var s signer
	err := s.open(ctx, a, &f.key, &f.engine, observe)
	if err != nil {
		s.close()
		return nil, err
	}
	return &s, nil
}

func (s *signer) open(ctx context.Context, a *app, key *keyFlags, engine *engineFlags, observe signing.Observer) (err error) {
	if s.key, err = key.open(ctx, a); err != nil {
		return err
	}
	if s.public, err = key.public(ctx, s.key); err != nil {
		return err
	}
	s.Engine, err = engine.engine(s.key, s.public, observe)
	return err
}

func (s *signer) close() {
	if s.key != nil {
		_ = s.key.Close() // nothing was written
	}
}

// verifyFlags are the flags of commands that verify a tree or an archive.
type verifyFlags struct {
	trust      trustFlags
	engine     engineFlags
	choice     selectFlags
	manifest   string
	allowEmpty bool
}

func (f *verifyFlags) add(flags *pflag.FlagSet, container string) {
	f.trust.add(flags)
	f.engine.addJobs(flags)
	f.choice.add(flags)
	f.choice.addHashed(flags, "accept")
	f.choice.addRequire(flags)
	flags.StringVar(&f.manifest, "manifest", "", "also compare "+container+" with the manifest in `FILE`")
	addAllowEmpty(flags, &f.allowEmpty, "verify")
	once(flags, "manifest")
}

// verifier is an engine with the trusted certificates and the manifest.
type verifier struct {
	*app
	*signing.Engine

	flags      *verifyFlags
	ring       *ima.Keyring
	index      *manifest.Index // nil without a manifest
	closeIndex func()
	progress   *progress
}

// newVerifier opens what the flags name. The caller closes the verifier.
func newVerifier(ctx context.Context, a *app, f *verifyFlags) (*verifier, error) {
	if f.manifest != "" && f.choice.given() {
		return nil, errManifestSelects
	}
	v := verifier{app: a, flags: f}
	var err error
	if v.ring, err = f.trust.ring(ctx, a); err != nil {
		return nil, err
	}
	if v.index, v.closeIndex, err = openIndex(ctx, f.manifest); err != nil {
		return nil, err
	}
	v.progress = a.newProgress()
	v.progress.entries("verified", !f.choice.given())
	v.Engine, err = f.engine.engine(nil, nil, v.progress.observer)
	if err == nil {
		err = f.choice.compile(v.progress.observer)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return &v, nil
}

func (v *verifier) close() {
	v.progress.close()
	v.closeIndex()
}

// verify verifies src, collects every verdict in the report, and prints it.
func (v *verifier) verify(ctx context.Context, src signing.Source, r *report.Verification) error {
	if err := v.Verify(ctx, v.flags.choice.wrap(src), signing.Trust{Ring: v.ring, Index: v.index}, r.Take); err != nil {
		return err
	}
	v.progress.close()
	return v.finish(r, v.flags.allowEmpty)
}
