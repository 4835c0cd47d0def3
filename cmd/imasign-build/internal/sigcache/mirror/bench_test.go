package mirror_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

func digestOf(n int) []byte {
	digest := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(n)))
	return digest[:]
}

// million exports n entries with signatures of 256 random bytes, and returns a batch without
// digests.
func million(b *testing.B, dir string, n int) signing.Batch {
	private, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	check(b, err)
	public, err := ima.BareKey(private.Public())
	check(b, err)
	der, err := sigcache.KeyOf(public)
	check(b, err)
	entry := func(i int) sigcache.Entry {
		e := sigcache.Entry{Key: der, Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digestOf(i)}
		for range 8 {
			e.Signature = append(e.Signature, e.Digest...)
		}
		return e
	}
	var buckets [256][]int
	for i := range n {
		e := entry(i)
		first := e.Address()[0]
		buckets[first] = append(buckets[first], i)
	}
	_, err = shards.Export(b.Context(), dir, func(yield func(sigcache.Entry, error) bool) {
		for _, bucket := range buckets {
			for _, i := range bucket {
				if !yield(entry(i), nil) {
					return
				}
			}
		}
	})
	check(b, err)
	return signing.Batch{Key: public, Form: ima.ContentSignature(), Hash: ima.SHA256}
}

// BenchmarkLookups looks for 18,000 signatures among a million, of which every second is there:
// in a directory, from a server that sends the shards, and after these were fetched.
func BenchmarkLookups(b *testing.B) {
	const entries, lookups, size = 1_000_000, 18_000, 128
	dir := b.TempDir()
	batch := million(b, dir, entries)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	run := func(b *testing.B, name, cache string) {
		b.ReportAllocs()
		hits := 0
		m, err := mirror.New(name, mirror.Options{Cache: cache, Warn: func(text string) { b.Error(text) }})
		check(b, err)
		for at := 0; at < lookups; at += size {
			digests := batch
			for i := at; i < min(at+size, lookups); i++ {
				n := i * 7919 % entries
				if i%2 == 1 {
					n += entries
				}
				digests.Digests = append(digests.Digests, digestOf(n))
			}
			for _, signature := range m.Get(context.Background(), digests) {
				if signature != nil {
					hits++
				}
			}
		}
		check(b, m.Close())
		if hits != lookups/2 {
			b.Errorf("%d hits", hits)
		}
	}
	b.Run("directory", func(b *testing.B) {
		for b.Loop() {
			run(b, dir, "")
		}
	})
	cache := b.TempDir()
	b.Run("fetching", func(b *testing.B) {
		for b.Loop() {
			run(b, server.URL, b.TempDir())
		}
	})
	run(b, server.URL, cache)
	b.Run("fetched", func(b *testing.B) {
		for b.Loop() {
			run(b, server.URL, cache)
		}
	})
}
