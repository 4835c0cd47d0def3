package approval_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	keyfile "github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// TestStrip checks that signing does not change the hash of a manifest.
func TestStrip(t *testing.T) {
	signed := tree()
	signed.KeyID, signed.KeyFor, signed.Certificate, signed.Date = 5, ima.ForV3, bytes.Repeat([]byte{1}, 32), now
	a, b := file("a", 1), file("b", 2)
	a.KeyID, a.Xattrs = 5, map[string][]byte{ima.XattrIMA: {3, 3, 4, 0, 0, 0, 5, 0, 1, 9}}
	b.Covered, b.Unsigned = map[string][]byte{"security.capability": {1}}, "hash only"
	b.Xattrs = map[string][]byte{ima.XattrIMA: ima.DigestValue(ima.SHA256, b.Digest)}
	plainB := b
	plainB.Xattrs = nil
	want := append(text(t, tree(), file("a", 1), plainB), text(t, manifest.Header{Container: manifest.Package, Name: "\xff"}, file("a", 1))...)
	for _, in := range [][]byte{want, append(text(t, signed, a, b), text(t, manifest.Header{Container: manifest.Package, Name: "\xff", KeyID: 1}, a)...)} {
		var out bytes.Buffer
		sum, err := approval.Strip(bytes.NewReader(in), &out)
		if err != nil || !bytes.Equal(out.Bytes(), want) || sum != sha256.Sum256(want) {
			t.Errorf("%v\n%s", err, out.Bytes())
		}
	}
	if _, err := approval.Strip(bytes.NewReader(want[:len(want)-9]), new(bytes.Buffer)); !errors.Is(err, manifest.ErrFormat) {
		t.Errorf("a manifest that is cut: %v", err)
	}
}

// TestKeysOfApprovers checks that an approval by every kind of key counts, and that nothing else
// that the key signs does.
func TestKeysOfApprovers(t *testing.T) {
	for _, algorithm := range []string{"p256", "p384", "mldsa44"} {
		t.Run(algorithm, func(t *testing.T) {
			dir := keysIn(t, algorithm)
			pem, err := os.ReadFile(dir + "/x509_ima.crt")
			check(t, err)
			cert, err := keystore.ParseCertificate(der(t, pem))
			check(t, err)
			key, err := keystore.Backends{keyfile.New()}.Open(t.Context(), dir+"/x509_ima.key", keystore.Options{Certificate: cert})
			check(t, err)
			defer key.Close()
			f := newFolder(t)
			sum := f.manifest(release(t))
			service := spki(t, "service")
			a := &protocol.Approval{Version: 1, SPKI: service[:], Type: 3, Signature: 2, Hash: 4, Manifest: sum[:], Origin: "release", Made: now.Unix(), NotAfter: now.Unix() + 60}
			content, err := approval.Sign(t.Context(), key, key.Public, a)
			check(t, err)
			approver := approval.Options{Approvers: []approval.Approver{{Name: "alice", Key: key.Public}}}
			w := want(t)
			w.AtLeast = 1
			for i := 0; i < len(content); i += 1 + len(content)/30 {
				for _, bit := range []byte{0, 1, 128} {
					if i > 0 && bit == 0 {
						continue
					}
					bad := bytes.Clone(content)
					bad[i] ^= bit
					check(t, os.WriteFile(f.path("a.approval"), bad, 0o644))
					s, err := approval.Open(t.Context(), f.dir, approver)
					check(t, err)
					found, why := s.Find(t.Context(), w, now)
					s.Close()
					if want := bit == 0; want != (len(found) == 1) {
						t.Fatalf("with byte %d changed by %d: found %d; %s", i, bit, len(found), why)
					}
				}
			}
		})
	}
}

// keysIn makes keys and returns their directory.
func keysIn(t *testing.T, algorithm string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), algorithm)
	_, err := certs.Init(t.Context(), dir, certs.InitOptions{Algorithm: algorithm})
	check(t, err)
	return dir
}

func der(t *testing.T, pem []byte) []byte {
	t.Helper()
	_, rest, _ := bytes.Cut(pem, []byte("-----BEGIN CERTIFICATE-----\n"))
	text, _, _ := bytes.Cut(rest, []byte("-----END"))
	return unbase64(t, text)
}

// TestSigningThatFails checks that nothing is written that does not verify.
func TestSigningThatFails(t *testing.T) {
	alice, bob := who(t, "alice"), who(t, "bob")
	sum := spki(t, "service")
	good := protocol.Approval{Version: 1, SPKI: sum[:], Type: 3, Signature: 2, Hash: 4, Manifest: sum[:], Origin: "release", Made: 1, NotAfter: 2}
	if _, err := approval.Sign(t.Context(), alice.signer, bob.public, &good); err == nil {
		t.Error("the key of another person is accepted")
	}
	if _, err := approval.Sign(t.Context(), nobody{}, alice.public, &good); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("got %v", err)
	}
	for words, change := range map[string]func(*protocol.Approval){
		"the origin is empty":  func(a *protocol.Approval) { a.Origin = "" },
		"must be one line":     func(a *protocol.Approval) { a.Origin = "a\nb" },
		"no values of type":    func(a *protocol.Approval) { a.Type = 4 },
		"sha1":                 func(a *protocol.Approval) { a.Hash = 2 },
		"the manifest's hash":  func(a *protocol.Approval) { a.Manifest = nil },
		"the key's hash":       func(a *protocol.Approval) { a.SPKI = nil },
		"it has version 2":     func(a *protocol.Approval) { a.Version = 2 },
		"seconds after 1970":   func(a *protocol.Approval) { a.NotAfter = -1 },
		"no time is 999999999": func(a *protocol.Approval) { a.Made = 999999999999 },
	} {
		a := good
		change(&a)
		if _, err := approval.Sign(t.Context(), alice.signer, alice.public, &a); !errors.Is(err, protocol.ErrMalformed) || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}

// nobody signs nothing.
type nobody struct{}

func (nobody) Sign(_ context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) ([][]byte, error) {
	return digests, nil
}

// TestSPKIOfMLDSA checks that the hash of a key does not depend on its certificate.
func TestSPKIOfMLDSA(t *testing.T) {
	for _, algorithm := range []string{"p256", "mldsa44"} {
		pem, err := os.ReadFile(keysIn(t, algorithm) + "/x509_ima.crt")
		check(t, err)
		cert, err := mldsa.ParseCertificate(der(t, pem))
		check(t, err)
		with, err := ima.CertificateKey(cert)
		check(t, err)
		bare, err := ima.BareKey(cert.PublicKey)
		check(t, err)
		one, err := approval.SPKI(with)
		check(t, err)
		two, err := approval.SPKI(bare)
		check(t, err)
		if one != two {
			t.Errorf("%s: %s and %s", algorithm, hex.EncodeToString(one[:]), hex.EncodeToString(two[:]))
		}
	}
}
