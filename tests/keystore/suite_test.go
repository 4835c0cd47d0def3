package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/tests/harness"
)

// place is a store with a key, for one test.
type place struct {
	backends keystore.Backends
	uri      string
	opts     keystore.Options
}

func (p *place) open(t testing.TB) *keystore.Key {
	t.Helper()
	key, err := p.backends.Open(context.Background(), p.uri, p.opts)
	check(t, err)
	t.Cleanup(func() { check(t, key.Close()) })
	return key
}

func algorithms() []string { return []string{"rsa2048", "rsa3072", "p256", "p384"} }

// enough returns how many signatures to make. A software TPM makes 60 to 200 signatures per
// second with RSA-3072 or P-384, and verifying is not much faster under the race detector: a
// thousand would take most of a minute.
func enough(algorithm string) int {
	if algorithm == "rsa3072" || algorithm == "p384" {
		return 200
	}
	return 1000
}

// suite tests what every backend must do. signatures is how many signatures eight workers make.
func suite(t *testing.T, p *place, algorithm string, signatures int) {
	t.Run("signatures", func(t *testing.T) { manySignatures(t, p, algorithm, signatures) })
	t.Run("hashes", func(t *testing.T) { hashes(t, p) })
	t.Run("no messages", func(t *testing.T) { noMessages(t, p) })
	t.Run("cancel", func(t *testing.T) { cancelled(t, p) })
	t.Run("close", func(t *testing.T) { closing(t, p) })
	t.Run("certificate", func(t *testing.T) { otherCertificate(t, p) })
	t.Run("openssl", func(t *testing.T) { opensslAgrees(t, p) })
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content returns the statement of a SHA-256 digest of content.
func content(digest []byte) ima.Statement {
	return ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest}
}

// sign signs SHA-256 digests of content.
func sign(ctx context.Context, s ima.Signer, digests [][]byte) ([][]byte, error) {
	return s.Sign(ctx, ima.ContentSignature(), ima.SHA256, digests)
}

func digestsOf(from, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		sum := sha256.Sum256(fmt.Append(nil, "content ", from+i))
		list[i] = sum[:]
	}
	return list
}

// manySignatures signs with eight workers at once. ima.Sign verifies each signature, so a
// signature of another worker's digest would be noticed.
func manySignatures(t *testing.T, p *place, algorithm string, n int) {
	key := p.open(t)
	if got := key.Public.Algorithm(); got != algorithm {
		t.Fatalf("the key is %s, not %s", got, algorithm)
	}
	if key.Provider == "" {
		t.Error("nobody knows what signs")
	}
	const workers, batch = 8, 25
	var wg sync.WaitGroup
	work := make(chan int)
	made := make([]int, workers)
	for w := range workers {
		wg.Go(func() {
			for from := range work {
				values, err := ima.Sign(t.Context(), key, key.Public, ima.ContentSignature(), ima.SHA256, digestsOf(from, batch))
				if err != nil {
					t.Error(err)
				}
				made[w] += len(values)
			}
		})
	}
	for from := 0; from < n; from += batch {
		work <- from
	}
	close(work)
	wg.Wait()
	total := 0
	for _, n := range made {
		total += n
	}
	if total != n {
		t.Errorf("%d signatures of %d", total, n)
	}
}

// hashes checks that every backend signs SHA-256, SHA-384 and SHA-512.
func hashes(t *testing.T, p *place) {
	key := p.open(t)
	for _, h := range []ima.HashID{ima.SHA256, ima.SHA384, ima.SHA512} {
		s := ima.Statement{Form: ima.ContentSignature(), Hash: h, Digest: bytes.Repeat([]byte{0xa5}, h.Size())}
		sigs, err := key.Sign(t.Context(), s.Form, h, [][]byte{s.Digest})
		check(t, err)
		check(t, key.Public.Verify(s, sigs[0]))
	}
	if sigs, err := sign(t.Context(), key, [][]byte{[]byte("short")}); !errors.Is(err, ima.ErrDigestSize) {
		t.Errorf("a digest of five bytes: %x, %v", sigs, err)
	}
}

// noMessages checks that only digests are signed. With hash 0, crypto/rsa would sign a
// DigestInfo made by the caller, and so content that nobody approved.
func noMessages(t *testing.T, p *place) {
	signer := p.open(t).CryptoSigner(t.Context())
	prefix := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	digest := digestsOf(0, 1)[0]
	for _, message := range [][]byte{digest, append(prefix, digest...), nil} {
		for _, h := range []crypto.Hash{0, crypto.MD5SHA1, crypto.SHA512_256, 999} {
			if sig, err := signer.Sign(nil, message, h); !errors.Is(err, ima.ErrUnsupportedHash) || sig != nil {
				t.Errorf("hash %d of %x: got %x, %v", h, message, sig, err)
			}
		}
	}
	if sig, err := signer.Sign(nil, append(prefix, digest...), crypto.SHA256); !errors.Is(err, ima.ErrDigestSize) {
		t.Errorf("a DigestInfo for a digest: %x, %v", sig, err)
	}
}

// cancelled checks that a batch ends between two signatures, and that the key still signs.
func cancelled(t *testing.T, p *place) {
	key := p.open(t)
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	digests := digestsOf(0, 100000) // more than can be signed in time
	started := make(chan struct{})
	ended := make(chan error)
	for range 4 {
		go func() {
			started <- struct{}{}
			sigs, err := sign(ctx, key, digests)
			if sigs != nil {
				err = errors.New("signatures although the context ended")
			}
			ended <- err
		}()
	}
	for range 4 {
		<-started
	}
	cancel(stop)
	for range 4 {
		if err := <-ended; !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	sigs, err := sign(t.Context(), key, digestsOf(7, 1))
	check(t, err)
	check(t, key.Public.Verify(content(digestsOf(7, 1)[0]), sigs[0]))
}

// closing checks that a key may be closed twice, that a closed key does not sign, and that it
// can be opened again.
func closing(t *testing.T, p *place) {
	key := p.open(t)
	id, signer := key.Public.ID(), key.Signer
	if s := fmt.Sprintf("%v %+v %#v", key, *key, key); strings.Count(s, id.String()) != 3 || len(s) > 100 {
		t.Errorf("printed as %s", s)
	}
	check(t, key.Close())
	check(t, key.Close())
	if _, err := sign(t.Context(), signer, digestsOf(0, 1)); err == nil {
		t.Error("it signs although it was closed")
	}
	if again := p.open(t); again.Public.ID() != id {
		t.Errorf("key id %s, before %s", again.Public.ID(), id)
	}
}

// otherCertificate checks that a certificate of another key is refused.
func otherCertificate(t *testing.T, p *place) {
	other := *p
	other.opts.Certificate = certificateOf(t, filepath.Join(harness.Keys(t, "p256"), "x509_ima.crt"))
	key, err := other.backends.Open(t.Context(), other.uri, other.opts)
	if !errors.Is(err, keystore.ErrCertificateMismatch) {
		t.Errorf("got %v, %v", key, err)
	}
}

func certificateOf(t testing.TB, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	return cert
}

// opensslAgrees checks that OpenSSL verifies a signature.
func opensslAgrees(t *testing.T, p *place) {
	key := p.open(t)
	digest := digestsOf(3, 1)[0]
	sigs, err := sign(t.Context(), key, [][]byte{digest})
	check(t, err)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, data, 0o600))
		return path
	}
	out := harness.Must(t, harness.Tool(t, "openssl"), "pkeyutl", "-verify", "-pubin", "-inkey", file("key.pem", publicPEM(t, key)),
		"-pkeyopt", "digest:sha256", "-in", file("digest", digest), "-sigfile", file("sig", sigs[0]))
	if !strings.Contains(out, "Successfully") {
		t.Errorf("openssl says %s", out)
	}
}

func publicPEM(t testing.TB, key *keystore.Key) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public.Public())
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
