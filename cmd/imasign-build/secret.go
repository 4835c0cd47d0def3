package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// secret returns where a key's passphrase comes from: the source named on the
// command line, else a terminal, else nowhere.
func (a *app) secret(source string) (keystore.Secret, error) {
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

// ask reads a passphrase without echo. A signal while it waits gives the terminal
// back as it was.
func (a *app) ask(ctx context.Context, terminal *os.File, prompt string) ([]byte, error) {
	fd := int(terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprintf(a.err, "%s: ", prompt)
	go func() {
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	defer fmt.Fprintln(a.err)
	select {
	case got := <-answers:
		if got.err == nil && len(got.text) == 0 {
			got.err = errors.New("no passphrase was entered")
		}
		return got.text, got.err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(fd, state))
	}
}
