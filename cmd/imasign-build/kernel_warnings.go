package main

import (
	"context"
	"slices"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/pkg/ima"
)

// addWarnings adds the flags of commands that sign, which name the kernel that will verify
// the signatures.
func (f *kernelFlags) addWarnings(flags *pflag.FlagSet) {
	flags.StringVar(&f.version, "kernel", "", "warn of signatures that the kernel `VERSION`, such as 6.6, cannot verify")
	flags.StringVar(&f.config, "kernel-config", "", "also warn of what the kernel's configuration in `FILE` lacks")
	once(flags, "kernel", "kernel-config")
}

// kernelWarnings warns of signatures that a kernel cannot verify.
type kernelWarnings struct {
	app     *app
	profile kernel.Profile
	said    []string // each once
}

// newKernelWarnings returns nil if no kernel was named.
func newKernelWarnings(ctx context.Context, a *app, f *kernelFlags) (*kernelWarnings, error) {
	if *f == (kernelFlags{}) {
		return nil, nil
	}
	profile, err := f.kernel(ctx)
	return &kernelWarnings{app: a, profile: profile}, err
}

// of warns of signatures of a form, by key, over digests by the hash called name. key is nil
// in a dry run without one, and name is "" for SHA-256 or what the files have.
func (w *kernelWarnings) of(form ima.Form, key *ima.PublicKey, name string) {
	if w == nil {
		return
	}
	algorithm, hash := "", ima.SHA256
	if key != nil {
		algorithm = key.Algorithm()
	}
	if h, err := ima.ParseHash(name); err == nil {
		hash = h
	}
	for _, lack := range w.profile.Lacks(form, algorithm, hash) {
		verb := "may refuse"
		if lack.When == kernel.Always {
			verb = "refuses"
		}
		if slices.Contains(w.said, lack.Reason) {
			continue
		}
		w.said = append(w.said, lack.Reason)
		w.app.note("warning: Linux %s %s signatures in %s: %s (%s)", kernelName(w.profile.Version), verb, form.Xattr, lack.Reason, lack.Cause)
	}
}
