//go:build cgo && linux

package libcrypto

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha3" // registers the hashes under test
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

// load fails, rather than skips, without libcrypto: tests/deps.sh installs it.
func load(t testing.TB) *Library {
	t.Helper()
	l, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// generated keeps one key of each size, because making keys is slow under the race detector.
var generated sync.Map

func generate(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	if k, there := generated.Load(bits); there {
		return k.(*rsa.PrivateKey)
	}
	k := another(t, bits)
	generated.Store(bits, k)
	return k
}

func another(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t testing.TB, k *rsa.PrivateKey) *RSA {
	t.Helper()
	r, err := load(t).NewRSA(k, &k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func digests(h crypto.Hash, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		sum := h.New()
		fmt.Fprint(sum, i)
		list[i] = sum.Sum(nil)
	}
	return list
}

func TestSameBytesAsGo(t *testing.T) {
	sizes := []int{2048, 3072, 4096}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, bits := range sizes {
		t.Run(strconv.Itoa(bits), func(t *testing.T) { testSameBytes(t, bits) })
	}
}

func testSameBytes(t *testing.T, bits int) {
	k := generate(t, bits)
	r := open(t, k)
	for _, h := range []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512} {
		list := digests(h, batchSize+3) // more than one call
		signatures, err := r.SignRaw(t.Context(), h, list)
		if err != nil {
			t.Fatalf("%s: %v", h, err)
		}
		if len(signatures) != len(list) {
			t.Fatalf("%s: %d signatures for %d digests", h, len(signatures), len(list))
		}
		for _, i := range []int{0, 1, batchSize - 1, batchSize, len(list) - 1} {
			want, err := rsa.SignPKCS1v15(nil, k, h, list[i])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(signatures[i], want) {
				t.Errorf("%s, digest %d: not the bytes of crypto/rsa", h, i)
			}
		}
	}
}

func TestWrongCertificate(t *testing.T) {
	k, other := generate(t, 2048), another(t, 2048)
	r, err := load(t).NewRSA(k, &other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if signatures, err := r.SignRaw(t.Context(), crypto.SHA256, digests(crypto.SHA256, 2)); !errors.Is(err, ErrVerify) || signatures != nil {
		t.Errorf("got %d signatures and %v", len(signatures), err)
	}
	if r.VerifiesWith(&k.PublicKey) || !r.VerifiesWith(&other.PublicKey) {
		t.Error("VerifiesWith names the wrong key")
	}
}

func TestCertificateOfAnotherSize(t *testing.T) {
	small, large := generate(t, 2048), generate(t, 3072)
	for _, c := range []struct{ private, public *rsa.PrivateKey }{{small, large}, {large, small}} {
		if _, err := load(t).NewRSA(c.private, &c.public.PublicKey); !errors.Is(err, ErrVerify) {
			t.Errorf("%d bits with %d: %v", c.private.N.BitLen(), c.public.N.BitLen(), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	r := open(t, generate(t, 2048))
	for name, c := range map[string]struct {
		hash    crypto.Hash
		digests [][]byte
		want    error
	}{
		"message":      {0, [][]byte{make([]byte, 32)}, ima.ErrUnsupportedHash},
		"SHA-1":        {crypto.SHA1, [][]byte{make([]byte, 20)}, ima.ErrUnsupportedHash},
		"MD5":          {crypto.MD5, [][]byte{make([]byte, 16)}, ima.ErrUnsupportedHash},
		"short digest": {crypto.SHA256, [][]byte{make([]byte, 32), make([]byte, 31)}, ima.ErrDigestSize},
		"long digest":  {crypto.SHA256, [][]byte{make([]byte, 33)}, ima.ErrDigestSize},
		"nil digest":   {crypto.SHA256, [][]byte{nil}, ima.ErrDigestSize},
	} {
		if _, err := r.SignRaw(t.Context(), c.hash, c.digests); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if signatures, err := r.SignRaw(t.Context(), crypto.SHA256, nil); err != nil || len(signatures) != 0 {
		t.Errorf("no digests: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	k := generate(t, 2048)
	r := open(t, k)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			h := []crypto.Hash{crypto.SHA256, crypto.SHA512}[i%2]
			list := digests(h, 40)
			signatures, err := r.SignRaw(t.Context(), h, list)
			if err != nil {
				t.Error(err)
				return
			}
			for i, s := range signatures {
				if err := rsa.VerifyPKCS1v15(&k.PublicKey, h, list[i], s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCancelled(t *testing.T) {
	r := open(t, generate(t, 2048))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := r.SignRaw(ctx, crypto.SHA256, digests(crypto.SHA256, 1)); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestCloseWaitsForSigners(t *testing.T) {
	r := open(t, generate(t, 2048))
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			started <- struct{}{}
			for {
				_, err := r.SignRaw(context.Background(), crypto.SHA256, digests(crypto.SHA256, 5))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func ExampleLibrary_NewRSA() {
	library, err := Load()
	if err != nil {
		fmt.Println("using crypto/rsa:", err)
		return
	}
	private, _ := rsa.GenerateKey(rand.Reader, 2048)
	signer, err := library.NewRSA(private, &private.PublicKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer signer.Close()
	signatures, err := signer.SignRaw(context.Background(), crypto.SHA256, [][]byte{make([]byte, 32)})
	fmt.Println(len(signatures), len(signatures[0]), err)
	// Output: 1 256 <nil>
}

// BenchmarkSign signs and verifies on every core, in batches as pkg/signing does.
func BenchmarkSign(b *testing.B) {
	for _, bits := range []int{2048, 4096} {
		k := generate(b, bits)
		list := digests(crypto.SHA256, batchSize)
		b.Run(fmt.Sprintf("libcrypto/rsa%d", bits), func(b *testing.B) {
			r := open(b, k)
			rate(b, func() error { _, err := r.SignRaw(context.Background(), crypto.SHA256, list); return err })
		})
		b.Run(fmt.Sprintf("go/rsa%d", bits), func(b *testing.B) {
			rate(b, func() error {
				for _, digest := range list {
					s, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest)
					if err == nil {
						err = rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, digest, s)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

func rate(b *testing.B, batch func() error) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := batch(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*batchSize)/b.Elapsed().Seconds(), "signatures/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAgainstOpenSSL compares two workers, signing and verifying, with what
// `openssl speed` signs on two cores, in wall time for both. The two take turns, so that a noisy machine
// is noisy for both.
func BenchmarkAgainstOpenSSL(b *testing.B) {
	r := open(b, generate(b, 2048))
	list := digests(crypto.SHA256, batchSize)
	var ours, theirs float64
	for b.Loop() {
		ours += twoWorkers(b, r, list, 3*time.Second)
		theirs += opensslSpeed(b)
	}
	b.ReportMetric(ours/float64(b.N), "signatures/s")
	b.ReportMetric(theirs/float64(b.N), "openssl-signatures/s")
	b.ReportMetric(100*ours/theirs, "percent-of-openssl")
	b.ReportMetric(0, "ns/op")
}

func twoWorkers(b *testing.B, r *RSA, list [][]byte, during time.Duration) float64 {
	var wg sync.WaitGroup
	var signed [2]int
	start := time.Now()
	for i := range signed {
		wg.Go(func() {
			for time.Since(start) < during {
				if _, err := r.SignRaw(context.Background(), crypto.SHA256, list); err != nil {
					b.Error(err)
					return
				}
				signed[i] += len(list)
			}
		})
	}
	wg.Wait()
	return float64(signed[0]+signed[1]) / time.Since(start).Seconds()
}

var speedLine = regexp.MustCompile(`(?m)^rsa 2048 bits\s+\S+\s+\S+\s+([0-9.]+)`)

func opensslSpeed(b *testing.B) float64 {
	out, err := exec.Command("openssl", "speed", "-elapsed", "-multi", "2", "-seconds", "3", "rsa2048").CombinedOutput()
	found := speedLine.FindSubmatch(out)
	if err != nil || found == nil {
		b.Fatalf("openssl speed: %v\n%s", err, out)
	}
	perSecond, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return perSecond
}
