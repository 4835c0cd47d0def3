package certs_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func readKey(t *testing.T, path, label string) crypto.Signer {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	block, _ := pem.Decode(data)
	if block == nil || block.Type != label {
		t.Fatalf("%s: %.40q", path, data)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(t, err)
	return key.(crypto.Signer)
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "keys")
	pairs, err := certs.Init(context.Background(), dir, certs.InitOptions{
		Algorithm: "p256", With: []string{"secondary", "rpm", "evm"}, Days: 7, Subject: pkix.Name{CommonName: "Router", Organization: []string{"Acme"}},
	})
	check(t, err)
	want := []string{
		"system_trusted_key.crt", "system_trusted_key.key", "x509_evm.crt", "x509_evm.der", "x509_evm.key",
		"x509_ima.crt", "x509_ima.der", "x509_ima.key", "x509_ima_rpm.crt", "x509_ima_rpm.der", "x509_ima_rpm.key",
		"x509_secondary.crt", "x509_secondary.der", "x509_secondary.key",
	}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	ca := pairs[0].Certificate
	var subjects, files []string
	for _, p := range pairs {
		subjects = append(subjects, p.Certificate.Subject.CommonName)
		for _, path := range p.Files() {
			files = append(files, filepath.Base(path))
			info, err := os.Stat(path)
			check(t, err)
			want := fs.FileMode(0o644)
			if strings.HasSuffix(path, ".key") {
				want = 0o600
			}
			if info.Mode() != want {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			if want == 0o644 {
				list, err := certs.Read(t.Context(), path)
				if err != nil || !list[0].Equal(p.Certificate) {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
		check(t, p.Certificate.CheckSignatureFrom(ca))
		public, err := ima.CertificateKey(p.Certificate)
		check(t, err)
		if own, err := ima.BareKey(readKey(t, p.Key, "PRIVATE KEY").Public()); err != nil || own.ID() != public.ID() {
			t.Errorf("%s: %v is not of %v", p.Name, own, public)
		}
	}
	slices.Sort(files)
	if !slices.Equal(files, want) {
		t.Errorf("told %q", files)
	}
	if got := strings.Join(subjects, ", "); got != "Router system CA, Router IMA signing, Router RPM IMA signing, Router EVM signing, Router secondary CA" {
		t.Error(got)
	}
	if !pairs[4].Certificate.IsCA {
		t.Error("the secondary CA is none")
	}
}

// TestInitEncrypts checks that what Encrypt returns is written, and nothing if it fails.
func TestInitEncrypts(t *testing.T) {
	invert := func(_ context.Context, der []byte) ([]byte, error) {
		der = slices.Clone(der)
		for i := range der {
			der[i] = ^der[i]
		}
		return der, nil
	}
	pairs, err := certs.Init(t.Context(), t.TempDir(), certs.InitOptions{Algorithm: "p384", Encrypt: invert})
	check(t, err)
	for _, p := range pairs {
		data, err := os.ReadFile(p.Key)
		check(t, err)
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "ENCRYPTED PRIVATE KEY" {
			t.Fatalf("%s: %.40q", p.Key, data)
		}
		der, _ := invert(t.Context(), block.Bytes)
		key, err := x509.ParsePKCS8PrivateKey(der)
		check(t, err)
		if public, ok := p.Certificate.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.(crypto.Signer).Public()) {
			t.Errorf("%s is another key", p.Key)
		}
	}
	stop, dir := errors.New("stop"), filepath.Join(t.TempDir(), "keys")
	_, err = certs.Init(t.Context(), dir, certs.InitOptions{Algorithm: "p384", Encrypt: func(context.Context, []byte) ([]byte, error) { return nil, stop }})
	if _, statErr := os.Stat(dir); !errors.Is(err, stop) || !errors.Is(statErr, fs.ErrNotExist) {
		t.Errorf("%v; left %v", err, statErr)
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "x509_ima.key"), []byte("precious"), 0o600))
	check(t, os.Symlink("nowhere", filepath.Join(dir, "system_trusted_key.crt")))
	check(t, os.WriteFile(filepath.Join(dir, "x509_evm.der"), nil, 0o600)) // not requested, so it may exist
	_, err := certs.Init(context.Background(), dir, certs.InitOptions{Algorithm: "p256"})
	if !errors.Is(err, certs.ErrExists) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"x509_ima.key", "system_trusted_key.crt"} {
		if !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%v does not list %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "evm") {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"system_trusted_key.crt", "x509_evm.der", "x509_ima.key"}) {
		t.Errorf("files %q", got)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "x509_ima.key")); err != nil || string(data) != "precious" {
		t.Errorf("%q %v", data, err)
	}
}

// TestInitIsAllOrNothing uses a file system with room for two files.
func TestInitIsAllOrNothing(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=5"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	_, err := certs.Init(context.Background(), filepath.Join(dir, "keys"), certs.InitOptions{Algorithm: "p256"})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "x509_ima") {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

func TestInitObeysTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := certs.Init(ctx, dir, certs.InitOptions{Algorithm: "p256"}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left %v", err)
	}
}

func TestInitRefusesOptions(t *testing.T) {
	for says, o := range map[string]certs.InitOptions{
		"rsa2048, rsa3072":    {Algorithm: "rsa1024"},
		"rpm, evm, secondary": {With: []string{"module"}},
		"no validity":         {Days: -1},
		"longer than 64":      {Subject: pkix.Name{CommonName: strings.Repeat("x", 55)}},
	} {
		dir := filepath.Join(t.TempDir(), "keys")
		_, err := certs.Init(context.Background(), dir, o)
		if !errors.Is(err, certs.ErrOption) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "wrong option") {
			t.Errorf("got %v, want %q", err, says)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: left %v", says, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := certs.Init(context.Background(), file, certs.InitOptions{Algorithm: "p256"}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("got %v", err)
	}
}

func TestInitDefaults(t *testing.T) {
	pairs, err := certs.Init(context.Background(), t.TempDir(), certs.InitOptions{})
	check(t, err)
	for _, p := range pairs {
		if p.Certificate.PublicKeyAlgorithm != x509.RSA || !strings.HasPrefix(p.Certificate.Subject.CommonName, "Device ") {
			t.Errorf("%v of %v", p.Certificate.PublicKeyAlgorithm, p.Certificate.Subject)
		}
	}
}
