package sigcache

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
	"path/filepath"
	"testing"
	"time"
)

// byOthers yields entries that each have another key, as an export of somebody hostile may.
func byOthers(b *signer, from, to int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		batch := b.batch(from, to)
		for i, digest := range batch.Digests {
			key := binary.BigEndian.AppendUint32(bytes.Repeat([]byte{0x30}, 512), uint32(from+i))
			if !yield(Entry{Key: key, Form: batch.Form, Hash: batch.Hash, Digest: digest, Signature: digest}, nil) {
				return
			}
		}
	}
}

// TestManyKeys has a key for each of more entries than are read together.
func TestManyKeys(t *testing.T) {
	const many = 1200
	key := newSigner(t)
	s, w := open(t, newDir(t), Options{})
	ctx := context.Background()
	if n, err := s.Add(ctx, byOthers(key, 0, many)); n != many || err != nil {
		t.Fatal(n, err)
	}
	seen := map[string]bool{}
	for e, err := range s.Entries(ctx) {
		if err != nil || len(e.Key) != 516 || len(e.Signature) == 0 {
			t.Fatalf("%x %x %v", e.Key, e.Signature, err)
		}
		seen[string(e.Key)] = true
	}
	stats, err := s.Stats(ctx)
	if err != nil || len(seen) != many || len(stats.Keys) != many || stats.Entries != many {
		t.Errorf("%d keys of entries, %d keys, %d entries, %v", len(seen), len(stats.Keys), stats.Entries, err)
	}
	for i := range stats.Keys {
		if !seen[string(stats.Keys[i].Key)] {
			t.Fatalf("key %x", stats.Keys[i].Key)
		}
	}
	odd := func(e *Entry) bool { return e.Key[len(e.Key)-1]%2 == 1 }
	if n, err := s.Remove(ctx, odd); n != many/2 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	w.Check(t)
}

// TestKeysWithoutSignatures makes an eviction leave keys behind, which must not take the place
// of signatures from then on.
func TestKeysWithoutSignatures(t *testing.T) {
	key := newSigner(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, w := open(t, newDir(t), Options{Limit: 256 << 10, Now: func() time.Time { return now }})
	ctx := context.Background()
	if _, err := s.Add(ctx, byOthers(key, 0, 800)); err != nil { // more than the limit
		t.Fatal(err)
	}
	now = now.Add(24 * time.Hour)
	b := key.batch(0, 250)
	signatures := key.sign(t, b)
	s.Put(ctx, b, signatures, nil)
	if got := s.Get(ctx, b); !equal(got, signatures) {
		n := 0
		for _, signature := range got {
			if signature != nil {
				n++
			}
		}
		t.Errorf("%d of today's signatures were kept", n)
	}
	w.Check(t)
}

// TestHugeKeys reads no key that is larger than any public key.
func TestHugeKeys(t *testing.T) {
	key := newSigner(t)
	dir, signatures := filled(t, key, 10)
	path := filepath.Join(dir, File)
	execute(t, path, "INSERT INTO key (id, spki) VALUES (7, zeroblob(200000)); INSERT INTO signature SELECT NULL, address+1, 7, xattr, type, version, over, hash, digest, signature, day FROM signature LIMIT 1")
	s, w := open(t, dir, Options{})
	if got := s.Get(context.Background(), key.batch(0, 10)); !equal(got, signatures) {
		t.Error("signatures are missing")
	}
	for e, err := range s.Entries(context.Background()) {
		if err != nil || len(e.Key) > maxKey {
			t.Errorf("a key with %d bytes, %v", len(e.Key), err)
		}
	}
	w.Check(t)
}
