package keystore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
)

// credentials is the variable with the directory of a systemd service's credentials.
const credentials = "CREDENTIALS_DIRECTORY"

// SecretAt returns the Secret that an attribute of a URI names: env:NAME (looked up with
// Getenv), fd:N, cred:NAME, file:PATH, file:///PATH or an absolute path. Like
// [ParseSecretSource], it reads nothing yet. A wrong source is [ErrSecretSource], without its
// text.
func (o Options) SecretAt(source string) (Secret, error) {
	if strings.HasPrefix(source, "/") {
		source = "file:" + source
	}
	if rest, ok := strings.CutPrefix(source, "file:"); ok {
		path, err := filePath(rest)
		if err != nil {
			return nil, ErrSecretSource
		}
		source = "file:" + path
	}
	return ParseSecretSource(source, o.getenv(), o.Warn)
}

func (o Options) getenv() func(string) (string, bool) {
	if o.Getenv != nil {
		return o.Getenv
	}
	return func(string) (string, bool) { return "", false }
}

// ContentAt reads the whole content of a source that an attribute of a URI names: a path, or
// env:NAME, fd:N, cred:NAME, file:PATH or file:///PATH. It may have several lines, and at most
// limit bytes. The caller should overwrite it if it is secret.
func (o Options) ContentAt(ctx context.Context, source string, limit int) ([]byte, error) {
	kind, name, _ := strings.Cut(source, ":")
	path := source
	var err error
	switch {
	case kind == "env" && isVariable(name):
		return variable(name, o.getenv(), limit)
	case kind == "fd":
		return descriptor(ctx, name, limit)
	case kind == "cred":
		path, err = credential(name, o.getenv())
	case kind == "file" && path != kind:
		path, err = filePath(name)
	}
	if err != nil {
		return nil, err
	}
	data, _, err := input.ReadSecret(ctx, path, limit)
	return data, err
}

func variable(name string, getenv func(string) (string, bool), limit int) ([]byte, error) {
	value, set := getenv(name)
	switch {
	case !set:
		return nil, fmt.Errorf("%s: %w: it is not set: check its name and export it", theVariable, ErrNoSecret)
	case value == "":
		return nil, fmt.Errorf("%s: %w: it is empty", theVariable, ErrNoSecret)
	case len(value) > limit:
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", theVariable, ErrNoSecret, limit)
	}
	return []byte(value), nil
}

func descriptor(ctx context.Context, number string, limit int) ([]byte, error) {
	fd, name, err := parseDescriptor(number)
	if err != nil {
		return nil, err
	}
	data, _, err := input.ReadSecretFrom(ctx, name, limit, func() (*os.File, error) { return duplicate(fd, name) })
	return data, err
}

// parseDescriptor reads the number of a file descriptor that may be an input, and names it.
func parseDescriptor(number string) (fd int, name string, err error) {
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return 0, "", ErrSecretSource
	}
	name = "file descriptor " + strconv.FormatUint(n, 10)
	if n == 1 || n == 2 {
		return 0, "", fmt.Errorf("%s is an output: %w", name, ErrSecretSource)
	}
	return int(n), name, nil
}

// credential returns the path of a credential of the systemd service that the program runs in
// (systemd.exec(5), LoadCredential=).
func credential(name string, getenv func(string) (string, bool)) (string, error) {
	if !isCredential(name) {
		return "", ErrSecretSource
	}
	dir, set := getenv(credentials)
	if !set || dir == "" {
		return "", errors.New("cred: names a credential of a systemd service, but " + credentials + " is not set: run the program in a unit with LoadCredential=, or name a file")
	}
	return dir + "/" + name, nil
}

// isCredential reports whether systemd accepts a name: it is that of a file.
func isCredential(name string) bool {
	return name != "" && len(name) <= 255 && name != "." && name != ".." && !strings.ContainsAny(name, "/:\x00")
}
