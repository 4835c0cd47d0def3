package main

import (
	"context"
	"sync"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/signing"
)

// signerFlags are the flags of every command that signs files.
type signerFlags struct {
	key    keyFlags
	engine engineFlags
	evm    evmFlags // of trees and archives
}

func (f *signerFlags) add(flags *pflag.FlagSet) {
	f.key.add(flags)
	purposeVar(flags, &f.key.purpose)
	f.engine.addSignature(flags)
	f.engine.addHash(flags)
	f.engine.addJobs(flags)
	f.engine.addReplace(flags)
	f.engine.reuse.add(flags)
	f.engine.addReceipts(flags)
}

// check completes the flags from the environment. In a dry run there need not be a key.
// verity is nil for commands without --verity.
func (f *signerFlags) check(a *app, dryRun bool, verity *verityFlags) error {
	f.key.fromEnvironment(a)
	if f.key.key == "" && !dryRun && (!f.evm.digestOnly() || f.evm.key.key == "") {
		return usagef("no key was given: --key URI, or --dry-run to compute only digests")
	}
	if err := f.evm.check(&f.key); err != nil {
		return err
	}
	if err := f.engine.checkReceipts(f.key.key, f.evm.key.key); err != nil {
		return err
	}
	if err := f.engine.reuse.check(f.key.key != "" || f.evm.key.key != ""); err != nil || verity == nil {
		return err
	}
	return verity.check(a, f)
}

// signer is an engine with its opened keys.
type signer struct {
	*signing.Engine

	app    *app
	evm    *evmFlags
	key    *keystore.Key  // nil in a dry run without a key
	evmKey *keystore.Key  // nil without --evm, and in a dry run without one
	public *ima.PublicKey // nil if no certificate was named either
	cache  *signatureCache

	receipts *receipts // nil if they are not wanted

	manifests []string // whose signatures are used again
	reused    sync.Once
	refused   error // from the manifests
}

// newSigner opens the key that the flags name. The caller closes the signer.
func newSigner(ctx context.Context, a *app, f *signerFlags, observe signing.Observer) (*signer, error) {
	s := signer{evm: &f.evm}
	err := s.open(ctx, a, &f.key, &f.engine, observe)
	if err != nil {
		s.close()
		return nil, err
	}
	return &s, nil
}

func (s *signer) open(ctx context.Context, a *app, key *keyFlags, engine *engineFlags, observe signing.Observer) (err error) {
	s.app = a
	if engine.receipts != "" {
		if s.receipts, err = a.newReceipts(engine.receipts); err != nil {
			return err
		}
		key.receipt = s.receipts.take
		if s.evm != nil {
			s.evm.key.receipt = s.receipts.take
		}
	}
	if s.key, err = key.open(ctx, a); err != nil {
		return err
	}
	if s.public, err = key.public(ctx, s.key); err != nil {
		return err
	}
	warnings, err := newKernelWarnings(ctx, a, &engine.kernel)
	if err != nil {
		return err
	}
	if s.evm == nil || !s.evm.digestOnly() {
		warnings.of(engine.signature(ima.XattrIMA, s.public), s.public, engine.hash)
	}
	if engine.verity {
		warnings.of(ima.VeritySignature(), s.public, engine.hash)
	}
	s.cache = &signatureCache{app: a, flags: &engine.reuse}
	engine.caches = func(key *keystore.Key) []signing.Cache { return s.cache.of(ctx, key) }
	var stages []signing.Stage
	if s.evm != nil && s.evm.on() {
		stage, err := s.openEVM(ctx, engine, warnings)
		if err != nil {
			return err
		}
		stages = append(stages, stage)
	}
	if s.Engine, err = engine.engine(s.key, s.public, observe, stages...); err != nil {
		return err
	}
	if p := a.active.Load(); p != nil && s.slow() {
		p.slow()
	}
	s.manifests = engine.reuse.manifests
	if s.evm != nil && s.evm.on() && !s.evm.target.stated() {
		return nil // what EVM signatures are over depends on the target, which Plan learns
	}
	return s.reuse(ctx)
}

// slow reports whether a slow key signs.
func (s *signer) slow() bool {
	return s.key != nil && s.key.Slow || s.evmKey != nil && s.evmKey.Slow
}

// together reports whether several containers are planned at the same time, so that a slow key is
// busy. If the files say what EVM signatures are for, the first container decides: the others
// wait for it.
func (s *signer) together() bool {
	return s.slow() && (s.evm == nil || !s.evm.on() || s.evm.target.stated())
}

// openEVM opens the key for security.evm.
func (s *signer) openEVM(ctx context.Context, engine *engineFlags, warnings *kernelWarnings) (signing.Stage, error) {
	stage, key, err := s.evm.stage(ctx, s.app, s.key, engine)
	s.evmKey = key
	if err != nil {
		return signing.Stage{}, err
	}
	warnings.of(engine.signature(ima.XattrEVM, stage.Key.Public), stage.Key.Public, engine.hash)
	if s.public == nil && key != nil {
		if s.public = key.Public; s.public.Purpose() == ima.ForEVM { // whose signatures may be replaced
			s.public, _ = s.public.For(ima.ForAny) // which always is possible; it signs nothing here
		}
	}
	return *stage, nil
}

// Plan plans a container, with security.evm if the flags ask for it.
func (s *signer) Plan(ctx context.Context, src signing.Source) (*signing.Plan, error) {
	if s.evm != nil {
		var err error
		if src, err = s.evm.wrap(ctx, s.app, src); err != nil {
			return nil, err
		}
	}
	if err := s.reuse(ctx); err != nil {
		return nil, err
	}
	return s.Engine.Plan(ctx, src)
}

func (s *signer) close() {
	for _, key := range []*keystore.Key{s.key, s.evmKey} {
		if key != nil {
			_ = key.Close() // nothing was written
		}
	}
	if s.cache != nil {
		s.cache.close()
	}
	if s.receipts != nil {
		s.receipts.close()
	}
	if s.app == nil { // it was never opened
		return
	}
	for _, forget := range s.app.forget {
		forget()
	}
}
