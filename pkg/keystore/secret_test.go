package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/keystore"
)

func getenv(name string) (string, bool) {
	value, ok := map[string]string{"PASS": "from the environment", "EMPTY": "", "LONG": strings.Repeat("x", 5000)}[name]
	return value, ok
}

func secret(t *testing.T, source string) (string, error) {
	t.Helper()
	s, err := keystore.ParseSecretSource(source, getenv, nil)
	check(t, err)
	value, err := s(context.Background(), "passphrase of test")
	return string(value), err
}

func write(t *testing.T, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(path, []byte(data), 0o600))
	return path
}

func TestSecretSources(t *testing.T) {
	for source, want := range map[string]string{
		"env:PASS":                         "from the environment",
		"file:" + write(t, "plain"):        "plain",
		"file:" + write(t, "line\n"):       "line",
		"file:" + write(t, "line\r\n"):     "line",
		"file:" + write(t, " spaces \t\n"): " spaces \t",
	} {
		if got, err := secret(t, source); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", source, got, err, want)
		}
	}
}

func TestSecretFromDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	_, err = w.WriteString("piped\n")
	check(t, err)
	check(t, w.Close())
	source := fmt.Sprintf("fd:%d", r.Fd())
	if got, err := secret(t, source); err != nil || got != "piped" {
		t.Errorf("got %q, %v", got, err)
	}
	// The descriptor stays open.
	if _, err := secret(t, source); !errors.Is(err, keystore.ErrNoSecret) {
		t.Errorf("got %v", err)
	}
	check(t, syscall.Fstat(int(r.Fd()), new(syscall.Stat_t)))
	if _, err := secret(t, "fd:999"); err == nil || !strings.Contains(err.Error(), "file descriptor 999 is not open") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsThatCannotBe(t *testing.T) {
	for source, is := range map[string]error{
		"env:EMPTY":                        keystore.ErrNoSecret,
		"env:UNSET":                        keystore.ErrNoSecret,
		"env:LONG":                         keystore.ErrNoSecret,
		"file:" + write(t, ""):             keystore.ErrNoSecret,
		"file:" + write(t, "\n"):           keystore.ErrNoSecret,
		"file:" + write(t, "two\nlines\n"): keystore.ErrNoSecret,
		"file:" + write(t, "a\x00b"):       keystore.ErrNoSecret,
		"file:" + write(t, strings.Repeat("x", 4097)):   input.ErrTooLarge,
		"file:" + filepath.Join(t.TempDir(), "missing"): fs.ErrNotExist,
	} {
		got, err := secret(t, source)
		if !errors.Is(err, is) || got != "" {
			t.Errorf("%s: got %q, %v, want %v", source, got, err, is)
		}
		kind, name, _ := strings.Cut(source, ":")
		if err != nil && strings.Contains(err.Error(), name) == (kind == "env") {
			t.Errorf("%q: a file or descriptor is named, a variable never: it may be the secret", err)
		}
	}
	if _, err := secret(t, "file:"+t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
}

func TestALiteralSecretIsNotRepeated(t *testing.T) {
	for _, source := range []string{
		"hunter2", "pass:hunter2", "env:hunter2 and more", "env:", "file:", "fd:hunter2", "fd:", "fd:-1", "fd:1", "fd:2", "fd:99999999999",
		"stdin", "", "ENV:hunter2", "env:hunter2=x",
	} {
		s, err := keystore.ParseSecretSource(source, getenv, nil)
		if s != nil || !errors.Is(err, keystore.ErrSecretSource) {
			t.Errorf("%q: got %v", source, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q is repeated: %v", source, err)
		}
	}
}

// TestAFileThatOthersReadIsWarnedAbout checks a file named by path, by descriptor, and in a URI.
func TestAFileThatOthersReadIsWarnedAbout(t *testing.T) {
	path := write(t, "secret")
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	var warnings []string
	warn := func(message string) { warnings = append(warnings, message) }
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true, 0o602: true} {
		check(t, os.Chmod(path, mode))
		fd := "fd:" + strconv.Itoa(int(f.Fd()))
		byFile, err := keystore.ParseSecretSource("file:"+path, getenv, warn)
		check(t, err)
		byDescriptor, err := keystore.ParseSecretSource(fd, getenv, warn)
		check(t, err)
		byURI, err := keystore.Options{Warn: warn}.SecretAt("file://" + path)
		check(t, err)
		for i, s := range []keystore.Secret{byFile, byDescriptor, byURI} {
			_, err := f.Seek(0, io.SeekStart)
			check(t, err)
			warnings = nil
			_, err = s(context.Background(), "")
			check(t, err)
			if got := strings.Join(warnings, ""); (got != "") != want || want && !strings.Contains(got, "by others") {
				t.Errorf("mode %o, source %d: warnings %q", mode, i, warnings)
			}
		}
	}
}

func TestWaitingForASecretEndsWithTheContext(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	check(t, syscall.Mkfifo(fifo, 0o600))
	s, err := keystore.ParseSecretSource("file:"+fifo, getenv, nil)
	check(t, err)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, err := s(ctx, ""); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	// A writer ends the goroutine that still waits.
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	check(t, err)
	check(t, w.Close())
}
