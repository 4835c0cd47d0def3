package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/input"
)

// maxSecret is the longest secret in bytes; OpenSSL accepts 1,024.
const maxSecret = 4096

// Errors about the source of a secret.
var (
	// ErrSecretSource: the text does not name a source. It is not repeated, because it may
	// be the secret itself.
	ErrSecretSource = errors.New("not a source of secrets; write env:NAME, file:PATH, fd:N or cred:NAME, never the secret itself")
	// ErrNoSecret: the source is empty, or its content cannot be a passphrase.
	ErrNoSecret = errors.New("no passphrase there")
)

// ParseSecretSource returns the Secret that a source names. env:NAME looks up a variable
// with getenv, such as os.LookupEnv. cred:NAME is a credential of a systemd service: the file
// of this name in the directory that the variable CREDENTIALS_DIRECTORY names. file:PATH,
// cred:NAME and fd:N are read to the end; one newline at the end is not part of the secret.
// Nothing is read until the Secret is called. It then calls warn, which may be nil, if other
// users may read or write the file. The error is [ErrSecretSource].
func ParseSecretSource(src string, getenv func(string) (string, bool), warn func(string)) (Secret, error) {
	kind, name, _ := strings.Cut(src, ":")
	switch {
	case kind == "env" && isVariable(name):
		return fromEnvironment(name, getenv), nil
	case kind == "file" && name != "":
		return fromFile(name, warn), nil
	case kind == "cred" && isCredential(name):
		return func(ctx context.Context, prompt string) ([]byte, error) {
			path, err := credential(name, getenv)
			if err != nil {
				return nil, err
			}
			return fromFile(path, nil)(ctx, prompt) // access lists make its mode look wider than it is
		}, nil
	case kind == "fd":
		return fromDescriptor(name, warn)
	}
	return nil, ErrSecretSource
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		digit := '0' <= c && c <= '9'
		if !letter && (!digit || i == 0) {
			return false
		}
	}
	return name != ""
}

// theVariable stands for a variable whose name is never repeated: it may be the secret itself.
const theVariable = "the environment variable that env: names"

func fromEnvironment(name string, getenv func(string) (string, bool)) Secret {
	return func(context.Context, string) ([]byte, error) { return variable(name, getenv, maxSecret) }
}

func fromFile(path string, warn func(string)) Secret {
	return func(ctx context.Context, _ string) ([]byte, error) {
		data, info, err := input.ReadSecret(ctx, path, maxSecret)
		if err == nil {
			input.WarnOfMode(warn, "passphrase file", path, info)
		}
		return oneLine(path, data, err)
	}
}

func fromDescriptor(number string, warn func(string)) (Secret, error) {
	fd, name, err := parseDescriptor(number)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ string) ([]byte, error) {
		data, info, err := input.ReadSecretFrom(ctx, name, maxSecret, func() (*os.File, error) { return duplicate(fd, name) })
		if err == nil {
			input.WarnOfMode(warn, "passphrase file on", name, info)
		}
		return oneLine(name, data, err)
	}, nil
}

// duplicate leaves fd open, so that no other file gets its number.
func duplicate(fd int, name string) (*os.File, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	switch {
	case errors.Is(err, unix.EBADF):
		return nil, fmt.Errorf("%s is not open: open it for the program, as %d<FILE does in a shell", name, fd)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(own), name), nil
}

// oneLine cuts off the newline at the end, which editors and echo write.
func oneLine(name string, data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	line, cut := bytes.CutSuffix(data, []byte("\n"))
	if cut {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch {
	case len(line) == 0:
		err = fmt.Errorf("%s: %w: it is empty: write the passphrase to it, in one line", name, ErrNoSecret)
	case bytes.ContainsAny(line, "\n\r\x00"):
		err = fmt.Errorf("%s: %w: it has several lines or binary data: write the passphrase to it, in one line", name, ErrNoSecret)
	default:
		return line, nil
	}
	clear(data)
	return nil, err
}
