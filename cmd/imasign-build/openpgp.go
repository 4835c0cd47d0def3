package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// openPGPFlags name the key that signs packages and repositories themselves.
type openPGPFlags struct{ key, pass string }

func (f *openPGPFlags) add(flags *pflag.FlagSet, what string) {
	flags.StringVar(&f.key, "openpgp-key", "", "replace the OpenPGP signature of "+what+" with one by `KEY`: a file with the secret key, or gpg:ID for a key of gpg or its agent")
	flags.StringVar(&f.pass, "openpgp-pass", "", "read the passphrase of --openpgp-key from `SOURCE`: env:NAME, file:PATH, fd:N or cred:NAME")
	annotate(flags, "openpgp-pass", noteDefault, "ask on the terminal, or let the agent ask")
	once(flags, "openpgp-key", "openpgp-pass")
}

// open reads the key. It returns nil if no key was named.
func (f *openPGPFlags) open(ctx context.Context, a *app) (*rpmsign.OpenPGPKey, error) {
	switch {
	case f.key != "":
	case f.pass != "":
		return nil, usagef("--openpgp-pass has no effect: there is no --openpgp-key")
	default:
		return nil, nil
	}
	date, err := a.date()
	if err != nil {
		return nil, err
	}
	if id, ok := strings.CutPrefix(f.key, "gpg:"); ok {
		return f.openGPG(ctx, a, id, date)
	}
	secret, err := a.secret("--openpgp-pass", f.pass)
	if err != nil {
		return nil, err
	}
	file, err := input.Open(ctx, f.key)
	if err != nil {
		return nil, err
	}
	defer file.Close()                //nolint:errcheck // opened for reading
	if f, ok := file.(*os.File); ok { // not a pipe, whose mode nobody chose
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		input.WarnOfMode(a.warn, "private key", f.Name(), info)
	}
	var ask func() ([]byte, error)
	if secret != nil {
		ask = func() ([]byte, error) { return secret(ctx, "passphrase of "+f.key) }
	}
	key, err := rpmsign.ReadOpenPGPKey(file, ask, date)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.key, err)
	}
	return key, nil
}

// openGPG makes gpg find the key. gpg gets the passphrase, if one is given, through a pipe.
func (f *openPGPFlags) openGPG(ctx context.Context, a *app, id string, date time.Time) (*rpmsign.OpenPGPKey, error) {
	if strings.TrimSuffix(id, "!") == "" {
		return nil, usagef("--openpgp-key %s: a fingerprint, key id or user id must follow gpg:", f.key)
	}
	g := rpmsign.GPG{Key: id, Date: date, Asking: a.prompting}
	if f.pass != "" {
		secret, err := a.secret("--openpgp-pass", f.pass)
		if err != nil {
			return nil, err
		}
		if g.Passphrase, err = secret(ctx, "passphrase of "+f.key); err != nil {
			return nil, err
		}
	}
	g.Environment = a.childEnvironment()
	return rpmsign.OpenGPG(ctx, g)
}
