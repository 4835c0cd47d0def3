package rpmsign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) {
	if asChild() {
		return
	}
	harness.Main(m, packages.Remove)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

// put writes a package into a new directory.
func put(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.rpm")
	check(t, os.WriteFile(path, b, 0o644))
	return path
}

// parsed parses the package in b, without a file.
func parsed(b []byte) (*Package, error) {
	p := &Package{path: "p.rpm", options: Options{MaxHeader: limit64M}}
	return p, p.read(bytes.NewReader(b), int64(len(b)))
}

func mustParse(t testing.TB, b []byte) *Package {
	t.Helper()
	p, err := parsed(b)
	check(t, err)
	return p
}

// keys are made once, because RSA keys take time.
var keys = map[string]func() crypto.Signer{
	"rsa2048": sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) }),
	"rsa3072": sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 3072)) }),
	"p256":    sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }),
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func publicKey(t testing.TB, key crypto.Signer) *ima.PublicKey {
	t.Helper()
	public, err := ima.BareKey(key.Public())
	check(t, err)
	return public
}

// engine signs with a key and replaces others' signatures.
func engine(t testing.TB, key crypto.Signer) *signing.Engine {
	t.Helper()
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), publicKey(t, key)), Public: publicKey(t, key)}, 0)}, Force: true, SpoolDir: t.TempDir()})
	check(t, err)
	return e
}

// signer returns a loop that signs with the key called name.
func signer(t testing.TB, name string) *loop {
	t.Helper()
	e := engine(t, keys[name]())
	return &loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
}

func stripper(t testing.TB) *loop {
	t.Helper()
	e, err := signing.New(signing.Options{SpoolDir: t.TempDir()})
	check(t, err)
	return &loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Strip(ctx, p) }}
}

func run(t testing.TB, s *loop, path string) result {
	t.Helper()
	r := s.Run(t.Context(), unit{Path: path})
	check(t, r.Err)
	return r
}

// verify verifies every file signature of a package with the key called name.
func verify(t testing.TB, path, name string) (signed int) {
	t.Helper()
	p, err := Open(path, Options{})
	check(t, err)
	defer p.Close()
	public := publicKey(t, keys[name]())
	for i, f := range p.files {
		v := p.values.values[i]
		if f.Digest == nil {
			if v != nil {
				t.Errorf("%s: %s has a signature, but no digest", path, f.Path)
			}
			continue
		}
		if _, err := ima.NewKeyring(public).Verify(v, ima.Statement{Form: ima.ContentSignature(), Hash: p.hash(), Digest: f.Digest}); err != nil {
			t.Errorf("%s: %s: %v", path, f.Path, err)
		}
		signed++
	}
	return signed
}

// pack makes a package from its parts.
func pack(f *packages.File) []byte { return f.Pack() }

func set(tags []packages.Tag, tag uint32, data []byte) { packages.Set(tags, tag, data) }

// parts returns those of the package called name.
func parts(t testing.TB, name string) *packages.File {
	t.Helper()
	f, err := packages.Read(packages.Path(t, name))
	check(t, err)
	return f
}

func insert(tags []packages.Tag, tag packages.Tag) []packages.Tag { return packages.Insert(tags, tag) }

func strings0(list ...string) (data []byte) {
	for _, s := range list {
		data = append(append(data, s...), 0)
	}
	return data
}

func int32s(list ...uint32) (data []byte) {
	for _, n := range list {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	return data
}

var _ io.Closer = (*Package)(nil)
