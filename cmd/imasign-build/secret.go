package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// secret returns where a key's passphrase comes from: the source named on the
// command line, else a terminal, else nowhere.
func (a *app) secret(source string) (keystore.Secret, error) {
	guardMemory()
	if source != "" {
		secret, err := keystore.ParseSecretSource(source, a.getenv)
		if err != nil {
			return nil, usageError{fmt.Errorf("--key-pass: %w", err)}
		}
		return secret, nil
	}
	stdin, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(stdin.Fd())) {
		return nil, nil
	}
	return func(ctx context.Context, prompt string) ([]byte, error) { return a.ask(ctx, stdin, prompt) }, nil
}

// withoutSecrets leaves out of an environment, for a program that is started, the
// variables that sources take secrets from (env:NAME).
func withoutSecrets(environ []string, sources ...string) []string {
	return slices.DeleteFunc(environ, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(sources, "env:"+name)
	})
}

// ask reads a passphrase without echo. However it ends, by a signal too, the
// terminal is given back as it was.
func (a *app) ask(ctx context.Context, terminal *os.File, prompt string) (_ []byte, err error) {
	fd := int(terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, term.Restore(fd, state)) }()
	if err := silence(fd); err != nil {
		return nil, err
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	quote.Fprintf(a.err, "%s: ", prompt)
	go func() {
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	defer quote.Fprintf(a.err, "\n") //nolint:errcheck // nobody could be told
	select {
	case got := <-answers:
		if got.err == nil && len(got.text) == 0 {
			got.err = errors.New("no passphrase was entered")
		}
		return got.text, got.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// silence turns the echo off before anybody is asked: ReadPassword does so too
// late for who answers at once.
func silence(fd int) error {
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, unix.TCSETS, settings)
}
