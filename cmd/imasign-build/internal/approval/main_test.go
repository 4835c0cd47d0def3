package approval_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// now is the time of the requests.
var now = time.Now().Truncate(time.Second)

// person is somebody with a key.
type person struct {
	name   string
	public *ima.PublicKey
	signer ima.Signer
}

func newPerson(t testing.TB, name string, key crypto.Signer) *person {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, SubjectKeyId: []byte(name + "1234"), NotBefore: now, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	public, err := ima.CertificateKey(cert)
	check(t, err)
	return &person{name, public, ima.FromRaw(ima.CryptoSigner(key), public)}
}

// people are alice, bob, carol, the service and a stranger, with keys of several algorithms.
var people = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	curve := func(c elliptic.Curve) crypto.Signer { k, err := ecdsa.GenerateKey(c, rand.Reader); return must(k, err) }
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	return map[string]crypto.Signer{
		"alice": curve(elliptic.P256()), "bob": curve(elliptic.P384()), "carol": must(r, err),
		"service": curve(elliptic.P256()), "stranger": curve(elliptic.P521()),
	}
})

func who(t testing.TB, name string) *person {
	t.Helper()
	return newPerson(t, name, people()[name])
}

func spki(t testing.TB, name string) [sha256.Size]byte {
	t.Helper()
	sum, err := approval.SPKI(who(t, name).public)
	check(t, err)
	return sum
}

func digest(i int) []byte {
	sum := sha256.Sum256(fmt.Append(nil, i))
	return sum[:]
}

// text returns a manifest of lines with this header.
func text(t testing.TB, h manifest.Header, lines ...manifest.Line) []byte {
	t.Helper()
	var out bytes.Buffer
	w := manifest.NewWriter(&out)
	h.Tool, h.Entries = "t", int64(len(lines))
	check(t, w.Header(h))
	for _, l := range lines {
		check(t, w.Line(l))
	}
	check(t, w.Flush())
	return out.Bytes()
}

// file is the line of a file with the i-th digest.
func file(path string, i int) manifest.Line {
	return manifest.Line{Path: path, Kind: "file", Size: 1, Mode: 0o755, Hash: ima.SHA256, Digest: digest(i)}
}

func tree() manifest.Header { return manifest.Header{Container: manifest.Tree, Hash: ima.SHA256} }

// release is a manifest with the digests 1 to 3.
func release(t testing.TB) []byte { return text(t, tree(), file("a", 1), file("b", 2), file("c", 3)) }

func content() approval.Kind { return approval.Kind{Form: ima.ContentSignature(), Hash: ima.SHA256} }

// folder is a directory of approvals.
type folder struct {
	testing.TB
	dir string
}

func newFolder(t testing.TB) *folder { t.Helper(); return &folder{t, t.TempDir()} }

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// manifest stores a manifest by its hash, and returns that.
func (f *folder) manifest(text []byte) [sha256.Size]byte {
	f.Helper()
	sum := sha256.Sum256(text)
	check(f, os.WriteFile(f.path(hex.EncodeToString(sum[:])+".manifest"), text, 0o644))
	return sum
}

// approve stores an approval by somebody, and returns its path.
func (f *folder) approve(name string, sum [sha256.Size]byte, change func(*protocol.Approval)) string {
	f.Helper()
	key := spki(f, "service")
	a := &protocol.Approval{
		Version: protocol.Version, SPKI: key[:], Type: 3, Signature: 2, Hash: uint8(ima.SHA256),
		Manifest: sum[:], Origin: "release", Made: now.Unix() - 60, NotAfter: now.Unix() + 3600,
	}
	if change != nil {
		change(a)
	}
	p := who(f, name)
	content, err := approval.Sign(context.Background(), p.signer, p.public, a)
	check(f, err)
	path := f.path(fmt.Sprintf("%x.%s-%x.approval", sum, name, sha256.Sum256(content)))
	check(f, os.WriteFile(path, content, 0o644))
	return path
}

// open opens a store in which alice, bob and carol may approve. It collects the warnings.
func (f *folder) open() (*approval.Store, func() string) {
	f.Helper()
	var mu sync.Mutex
	var warned string
	o := approval.Options{Warn: func(text string) {
		mu.Lock()
		defer mu.Unlock()
		warned += text + "\n"
	}}
	for _, name := range []string{"alice", "bob", "carol"} {
		o.Approvers = append(o.Approvers, approval.Approver{Name: name, Key: who(f, name).public})
	}
	s, err := approval.Open(context.Background(), f.dir, o)
	check(f, err)
	f.Cleanup(s.Close)
	return s, func() string { mu.Lock(); defer mu.Unlock(); return warned }
}

// want looks for manifests that two of three approve.
func want(t testing.TB) approval.Want {
	t.Helper()
	return approval.Want{SPKI: spki(t, "service"), Kind: content(), Origin: "release", By: []string{"alice", "bob", "carol"}, AtLeast: 2}
}

func unbase64(t testing.TB, text []byte) []byte {
	t.Helper()
	out, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(text, []byte("\n"), nil)))
	check(t, err)
	return out
}
