package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/signing"
)

// verifyFlags are the flags of commands that verify a tree or an archive.
type verifyFlags struct {
	trust      trustFlags
	evm        evmTrustFlags
	verity     verityParameters
	engine     engineFlags
	choice     selectFlags
	manifest   string
	allowEmpty bool
}

func (f *verifyFlags) add(flags *pflag.FlagSet, container string) {
	f.trust.add(flags)
	purposeVar(flags, &f.trust.purpose)
	f.evm.add(flags)
	f.evm.addRequire(flags)
	addAccept(flags, &f.engine.form)
	f.verity.add(flags)
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
	trust      signing.Trust
	hint       purposeHint
	verity     verityNote
	closeIndex func()
	progress   *progress
}

// newVerifier opens what the flags name. The caller closes the verifier.
func newVerifier(ctx context.Context, a *app, f *verifyFlags) (*verifier, error) {
	v := verifier{app: a, flags: f}
	var err error
	if v.trust.Ring, err = f.trust.ring(ctx, a); err != nil {
		return nil, err
	}
	if v.trust.EVM, err = f.evm.ring(ctx, f.trust.purpose); err != nil {
		return nil, err
	}
	verity, err := f.verity.get()
	if err != nil {
		return nil, err
	}
	v.trust.Verity = &verity
	if v.trust.Index, v.closeIndex, err = openIndex(ctx, f.manifest); err != nil {
		return nil, err
	}
	v.trust.Beside = f.choice.given()
	v.progress = a.newProgress()
	v.progress.entries("verified", !f.choice.given())
	stages := f.evm.stages()
	for i := range stages {
		if f.engine.form == "v3" {
			stages[i] = stages[i].V3()
		}
	}
	v.Engine, err = f.engine.engine(nil, nil, v.progress.observer, stages...)
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

// container verifies the files of one container.
func (v *verifier) container(ctx context.Context, src signing.Source, take func(signing.Verdict) error) error {
	if err := v.flags.evm.learn(ctx, v.app, src); err != nil {
		return err
	}
	if v.trust.Index != nil {
		src = v.flags.choice.beside(src, v.trust.Index)
	} else {
		src = v.flags.choice.wrap(src)
	}
	return v.Verify(ctx, src, v.trust, v.verity.watch(v.hint.watch(take)))
}

// verify verifies src, collects every verdict in the report, and prints it.
func (v *verifier) verify(ctx context.Context, src signing.Source, r *report.Verification) error {
	if err := v.container(ctx, src, r.Take); err != nil {
		return err
	}
	return v.conclude(r)
}

// conclude prints the report of a verification that is complete.
func (v *verifier) conclude(r *report.Verification) error {
	v.progress.close()
	v.hint.tell(v.app, v.flags.trust.purpose)
	v.verity.tell(v.app, &v.trust)
	return v.finish(r, v.flags.allowEmpty)
}
