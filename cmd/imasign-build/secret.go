package main

import (
	"bytes"
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

// passVariable stands for --key-pass. Its value is a source, never the secret itself.
const passVariable = "IMASIGN_KEY_PASS" //nolint:gosec // the name of a variable

// secret returns the source of a key's passphrase: source, which the flag or variable
// name gave. If it is "", the secret is asked for on a terminal. The result is nil if
// there is no terminal.
func (a *app) secret(name, source string) (keystore.Secret, error) {
	guardMemory()
	if source != "" {
		a.sources = append(a.sources, source)
		secret, err := keystore.ParseSecretSource(source, a.getenv, a.warn)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", name, err)}
		}
		if strings.HasPrefix(source, "fd:") {
			return a.once(source, secret), nil
		}
		return secret, nil
	}
	stdin, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(stdin.Fd())) {
		return nil, nil
	}
	return func(ctx context.Context, prompt string) ([]byte, error) { return a.ask(ctx, stdin, prompt) }, nil
}

// once returns the Secret of a source that can be read only once, for all keys that have
// this source.
func (a *app) once(source string, secret keystore.Secret) keystore.Secret {
	if a.read[source] == nil {
		if a.read == nil {
			a.read = map[string]keystore.Secret{}
		}
		var forget func()
		a.read[source], forget = remembered(secret)
		a.forget = append(a.forget, forget)
	}
	return a.read[source]
}

// remembered returns a Secret that asks once and repeats the first answer. forget
// overwrites the answer.
func remembered(secret keystore.Secret) (_ keystore.Secret, forget func()) {
	var answer []byte
	ask := func(ctx context.Context, prompt string) (_ []byte, err error) {
		if answer == nil {
			answer, err = secret(ctx, prompt)
		}
		return slices.Clone(answer), err
	}
	return ask, func() { clear(answer) }
}

// uriSecret looks up a variable that a key's URI names as the source of its secret.
func (a *app) uriSecret(name string) (string, bool) {
	a.sources = append(a.sources, "env:"+name)
	return a.getenv(name)
}

// childEnvironment returns the environment for programs that this one starts. It lacks
// the variables that hold secrets, and IMASIGN_KEY_PASS, as somebody may have put the
// secret itself there.
func (a *app) childEnvironment() []string {
	source, _ := a.getenv(passVariable)
	return withoutSecrets(os.Environ(), append([]string{"env:" + passVariable, source}, a.sources...)...)
}

// withoutSecrets removes from environ the variables that sources name (env:NAME).
func withoutSecrets(environ []string, sources ...string) []string {
	return slices.DeleteFunc(environ, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(sources, "env:"+name)
	})
}

// prompting keeps standard error free for a prompt until answered is called: no progress
// and no text of other goroutines.
func (a *app) prompting() (answered func()) {
	resume := func() {}
	if p := a.active.Load(); p != nil {
		resume = p.pause()
	}
	release := a.screen.ask(a.err)
	return func() {
		release()
		resume()
	}
}

// ask reads a passphrase without echo. It restores the terminal in any case, also after a
// signal.
func (a *app) ask(ctx context.Context, terminal *os.File, prompt string) (_ []byte, err error) {
	a.asking.Lock() // one question at a time
	defer a.asking.Unlock()
	defer a.prompting()()
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
	quote.Fprintf(a.forPeople(a.err), "%s: ", prompt)
	go func() {
		text, err := readLine(fd)
		answers <- answer{text, err}
	}()
	defer quote.Fprintf(a.err, "\n")
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

// maxTyped is the longest line that a terminal returns, in bytes (N_TTY_BUF_SIZE).
const maxTyped = 4096

// readLine reads a line into one buffer. term.ReadPassword grows its buffer and leaves pieces
// of the line in the old ones.
func readLine(fd int) ([]byte, error) {
	buffer := make([]byte, maxTyped)
	for n := 0; n < len(buffer); {
		read, err := unix.Read(fd, buffer[n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			clear(buffer)
			return nil, err
		}
		n += read
		if line, ended := bytes.CutSuffix(buffer[:n], []byte("\n")); ended || read == 0 {
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
	}
	clear(buffer)
	return nil, fmt.Errorf("the passphrase is longer than %d bytes", maxTyped-1)
}

// silence turns the echo off. It also makes the terminal return whole lines, and send signals
// for Ctrl-C.
func silence(fd int) error {
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Lflag &^= unix.ECHO
	settings.Lflag |= unix.ICANON | unix.ISIG
	settings.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, unix.TCSETS, settings)
}
