package sigcache_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// BenchmarkMillion looks for 18,000 signatures of RSA-2048 in a cache that has a million, and
// for 18,000 that it does not have, in batches of 128 as the engine does. The signatures lie
// anywhere among the million, and were last used on another day, which Get changes. "again" is
// the second time for the same ones. The figures include opening and closing the cache.
func BenchmarkMillion(b *testing.B) {
	const entries, lookups, batch = 1_000_000, 18_000, 128
	key := benchKey(b)
	dir := b.TempDir()
	store := openBench(b, dir)
	if n, err := store.Add(b.Context(), manyEntries(b, key, entries)); n != entries || err != nil {
		b.Fatalf("%d added, %v", n, err)
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	look := func(from, below int) (seconds float64, found int) {
		random := mathrand.New(mathrand.NewPCG(1, 2))
		start := time.Now()
		store := openBench(b, dir)
		for range lookups / batch {
			asked := signing.Batch{Key: key, Form: ima.ContentSignature(), Hash: ima.SHA256}
			for range batch {
				asked.Digests = append(asked.Digests, numbered(from+random.IntN(below-from)))
			}
			for i, signature := range store.Get(b.Context(), asked) {
				if signature == nil {
					continue
				}
				if found++; !bytes.Equal(signature, madeUp(asked.Digests[i])) {
					b.Fatal("the signature of another digest")
				}
			}
		}
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start).Seconds(), found
	}
	const asked = lookups / batch * batch
	var hits, again, misses float64
	for b.Loop() {
		for _, l := range []struct {
			sum         *float64
			from, below int
			found       int
		}{{&hits, 0, entries, asked}, {&again, 0, entries, asked}, {&misses, entries, 2 * entries, 0}} {
			seconds, found := look(l.from, l.below)
			if found != l.found {
				b.Fatalf("%d of %d found", found, l.found)
			}
			*l.sum += seconds
		}
	}
	b.ReportMetric(hits/float64(b.N), "hits-s")
	b.ReportMetric(again/float64(b.N), "again-s")
	b.ReportMetric(misses/float64(b.N), "misses-s")
	b.ReportMetric(0, "ns/op")
}

func openBench(b *testing.B, dir string) *sigcache.Store {
	b.Helper()
	store, err := sigcache.Open(b.Context(), dir, sigcache.Options{Warn: func(text string) { b.Error(text) }})
	if err != nil {
		b.Fatal(err)
	}
	return store
}

func benchKey(b *testing.B) *ima.PublicKey {
	b.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	key, err := ima.BareKey(private.Public())
	if err != nil {
		b.Fatal(err)
	}
	return key
}

func manyEntries(b *testing.B, public *ima.PublicKey, n int) iter.Seq2[sigcache.Entry, error] {
	b.Helper()
	key, err := sigcache.KeyOf(public)
	if err != nil {
		b.Fatal(err)
	}
	return func(yield func(sigcache.Entry, error) bool) {
		for i := range n {
			digest := numbered(i)
			e := sigcache.Entry{Key: key, Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest, Signature: madeUp(digest), Used: time.Now().AddDate(0, 0, -2)}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func numbered(i int) []byte {
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return digest[:]
}

// madeUp returns bytes in place of a signature. The cache does not verify.
func madeUp(digest []byte) []byte { return bytes.Repeat(digest, 8) }
