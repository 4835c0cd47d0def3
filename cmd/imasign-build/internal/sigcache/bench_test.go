package sigcache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// numbered yields entries with RSA-2048's length of signature, for the digests with the
// numbers from 0 to n. Nothing verifies them.
func numbered(b *testing.B, key *signer, n int) iter.Seq2[Entry, error] {
	spki, err := KeyOf(key.public)
	if err != nil {
		b.Fatal(err)
	}
	return func(yield func(Entry, error) bool) {
		random := rand.NewChaCha8([32]byte{})
		for i := range n {
			digest, signature := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))), make([]byte, 256)
			_, _ = random.Read(signature) // cannot fail
			if !yield(Entry{Key: spki, Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest[:], Signature: signature}, nil) {
				return
			}
		}
	}
}

// BenchmarkLookups looks for 18,000 digests among IMASIGN_CACHE_ENTRIES entries (20,000 if it
// is not set).
func BenchmarkLookups(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("IMASIGN_CACHE_ENTRIES"))
	if err != nil {
		n = 20_000
	}
	key, ctx := newSigner(b), context.Background()
	s, _ := open(b, newDir(b), Options{})
	if _, err := s.Add(ctx, numbered(b, key, n)); err != nil {
		b.Fatal(err)
	}
	for name, from := range map[string]int{"of one build": 0, "missing": n} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				found := s.Get(ctx, key.batch(from, from+18_000))
				if (found[0] == nil) != (from == n) {
					b.Fatal("the cache does not find what it has")
				}
			}
		})
	}
	b.Run("in any order", func(b *testing.B) {
		batch := key.batch(0, 0)
		for range 18_000 {
			i := rand.IntN(n)
			batch.Digests = append(batch.Digests, key.batch(i, i+1).Digests...)
		}
		for b.Loop() {
			if s.Get(ctx, batch)[17_999] == nil {
				b.Fatal("the cache does not find what it has")
			}
		}
	})
	if stats, err := s.Stats(ctx); err == nil {
		b.Logf("%d bytes an entry", stats.Bytes/stats.Entries)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir, _ := filled(b, newSigner(b), 1000)
	for b.Loop() {
		s, err := Open(context.Background(), dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut stores batches of 128 signatures, from one process or from eight.
func BenchmarkPut(b *testing.B) {
	key := newSigner(b)
	for _, n := range []int{1, 8} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dir := newDir(b)
			var stores []*Store
			for range n {
				s, _ := open(b, dir, Options{})
				stores = append(stores, s)
			}
			round := 0
			for b.Loop() {
				var all sync.WaitGroup
				for i, s := range stores {
					batch := key.batch(128*(n*round+i), 128*(n*round+i+1))
					signatures := make([][]byte, 128)
					for i := range signatures {
						signatures[i] = append(make([]byte, 224), batch.Digests[i]...)
					}
					all.Go(func() {
						if kept := s.Put(context.Background(), batch, signatures, nil); kept[0] == nil {
							b.Error("the cache did not keep a signature")
						}
					})
				}
				all.Wait()
				round++
			}
			b.ReportMetric(float64(128*n*round)/b.Elapsed().Seconds(), "signatures/s")
		})
	}
}
