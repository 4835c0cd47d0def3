package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// evmTrustFlags choose the certificates that security.evm is checked with.
type evmTrustFlags struct {
	certs   []string
	require bool
	target  evmTarget
}

func (f *evmTrustFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.certs, "evm-cert", nil, "also verify security.evm, with the certificate in `FILE`")
	f.target.add(flags)
}

// addRequire adds the flag for verifications.
func (f *evmTrustFlags) addRequire(flags *pflag.FlagSet) {
	flags.BoolVar(&f.require, "require-evm", false, "refuse files without security.evm that must be signed")
}

// idle refuses flags that have no effect without --evm-cert.
func (f *evmTrustFlags) idle(flags *pflag.FlagSet) error {
	if len(f.certs) > 0 {
		return nil
	}
	if flags.Lookup("require-evm") == nil {
		return idle(flags, "--evm-cert", "evm-target")
	}
	return idle(flags, "--evm-cert", "require-evm", "evm-target")
}

// learn finds out the target, if security.evm is checked.
func (f *evmTrustFlags) learn(ctx context.Context, a *app, src signing.Source) error {
	if len(f.certs) == 0 {
		return nil
	}
	return f.target.learn(ctx, a, src)
}

// stages returns the stage that checks security.evm, none without certificates.
func (f *evmTrustFlags) stages() []signing.Stage {
	if len(f.certs) == 0 {
		return nil
	}
	return []signing.Stage{f.stage()}
}

// stage returns the stage that checks security.evm.
func (f *evmTrustFlags) stage() signing.Stage {
	stage := signing.PortableStage(nil, 0, f.target.get)
	form := stage.Form
	stage.Form = func(e *signing.Entry, before []signing.Value) (ima.Form, bool) {
		if _, there := e.Xattrs[ima.XattrEVM]; !there && !f.require {
			return ima.Form{}, false
		}
		return form(e, before)
	}
	return stage
}

// ring returns the certificates, nil if there are none. purpose is the value of --key-for.
func (f *evmTrustFlags) ring(ctx context.Context, purpose string) (*ima.Keyring, error) {
	if len(f.certs) == 0 {
		return nil, nil
	}
	return readKeyring(ctx, f.certs, evmSigner, purpose)
}
