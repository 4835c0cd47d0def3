package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
)

// TestExchangedKeyDirectory opens a key while its directory becomes another one or a file.
// Each attempt must fail, or open a key with the certificate beside it.
func TestExchangedKeyDirectory(t *testing.T) {
	top := t.TempDir()
	var ids []string
	for _, name := range []string{"a", "b"} {
		dir := filepath.Join(top, name)
		pairs, err := certs.Init(t.Context(), dir, certs.InitOptions{Algorithm: "p256"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, keyID(pairs[len(pairs)-1].Certificate))
	}
	if err := os.WriteFile(filepath.Join(top, "c"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newApp()
	a.backends, a.in, a.err = keystore.Backends{file.New()}, strings.NewReader(""), io.Discard
	keys := filepath.Join(top, "keys")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			other := filepath.Join(top, "abc"[i%3:i%3+1])
			_ = os.Rename(other, keys)
			_ = os.Rename(keys, other)
		}
	}()
	defer func() { stop(); <-done }()
	for range 500 {
		key, err := (&keyFlags{key: keys}).open(t.Context(), a)
		if err != nil {
			continue
		}
		if id := key.Public.ID().String(); key.Public.Certificate() == nil || !slices.Contains(ids, id) {
			t.Fatalf("opened key %s, certificate %v", id, key.Public.Certificate())
		}
		if err := key.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeyDirectoryBecomesAFile checks what is reported for either order.
func TestKeyDirectoryBecomesAFile(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := directoryOf(keys)
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	uri, err := dir.key(fileSigner)
	if err == nil {
		_, err = file.New().Open(t.Context(), strings.TrimPrefix(uri, "file:"), keystore.Options{})
	}
	if err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v", err)
	}
	if directoryOf(keys) != nil {
		t.Error("a file is taken for a directory")
	}
}

func TestKeyDirectoryURIs(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"keys", "a:b", "0x81", "a b?"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x509_ima.key"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for uri, want := range map[string]string{
		"keys":                    "file:keys/x509_ima.key",
		"keys/":                   "file:keys/x509_ima.key",
		"file:keys":               "file:keys/x509_ima.key",
		"./a:b":                   "file:a:b/x509_ima.key",
		"a:b":                     "",
		"tpm2:keys":               "tpm2:keys/x509_ima.key",
		"TPM2:keys/?device=x&y=z": "tpm2:keys/x509_ima.key?device=x&y=z",
		"tpm2:a%20b%3f":           "tpm2:a%20b%3F/x509_ima.key",
		"tpm2:0x81":               "",
		"tpm2:./0x81":             "tpm2:./0x81/x509_ima.key",
		"pkcs11:token=keys":       "",
		"keys/x509_ima.key":       "",
		"nowhere":                 "",
		"":                        "",
	} {
		got := ""
		if dir := directoryOf(uri); dir != nil {
			var err error
			if got, err = dir.key(fileSigner); err != nil {
				t.Error(err)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}
