package keystore_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestCredentials checks secrets that systemd passes to a service.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "pin"), []byte("1234\n"), 0o440)) // as systemd's access lists make it look
	o := keystore.Options{
		Getenv: func(name string) (string, bool) { return dir, name == "CREDENTIALS_DIRECTORY" },
		Warn:   func(text string) { t.Error(text) },
	}
	s, err := o.SecretAt("cred:pin")
	check(t, err)
	if value, err := s(t.Context(), ""); string(value) != "1234" || err != nil {
		t.Errorf("got %q, %v", value, err)
	}
	s, err = keystore.Options{}.SecretAt("cred:pin")
	check(t, err)
	if value, err := s(t.Context(), ""); value != nil || err == nil || !strings.Contains(err.Error(), "CREDENTIALS_DIRECTORY is not set") {
		t.Errorf("got %q, %v", value, err)
	}
	for _, name := range []string{"", ".", "..", "../pin", "a/b", "a:b", "a\x00", strings.Repeat("a", 256)} {
		if s, err := o.SecretAt("cred:" + name); s != nil || !errors.Is(err, keystore.ErrSecretSource) {
			t.Errorf("%q: %v", name, err)
		}
		if data, err := o.ContentAt(t.Context(), "cred:"+name, 10); data != nil || !errors.Is(err, keystore.ErrSecretSource) {
			t.Errorf("%q: %q, %v", name, data, err)
		}
	}
}

// TestContent checks the sources of files with several lines.
func TestContent(t *testing.T) {
	const text = "one\ntwo\n"
	path := write(t, text)
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	o := keystore.Options{Getenv: func(name string) (string, bool) {
		return map[string]string{"TEXT": text, "EMPTY": "", "CREDENTIALS_DIRECTORY": filepath.Dir(path)}[name], name != "UNSET"
	}}
	for _, source := range []string{path, "file:" + path, "file://" + path, "env:TEXT", "cred:secret", "fd:" + strconv.Itoa(int(f.Fd()))} {
		if data, err := o.ContentAt(t.Context(), source, len(text)); string(data) != text || err != nil {
			t.Errorf("%s: got %q, %v", source, data, err)
		}
		_, err := f.Seek(0, io.SeekStart)
		check(t, err)
		if data, err := o.ContentAt(t.Context(), source, 3); data != nil || err == nil {
			t.Errorf("%s, too large: got %q, %v", source, data, err)
		}
	}
	for _, source := range []string{"env:UNSET", "env:EMPTY", "fd:1", "fd:x", "fd:999", "file://host/x", path + ".none"} {
		if data, err := o.ContentAt(t.Context(), source, 10); data != nil || err == nil {
			t.Errorf("%s: got %q, %v", source, data, err)
		}
	}
}
