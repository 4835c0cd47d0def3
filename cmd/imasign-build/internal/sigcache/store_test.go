package sigcache

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

// signer is a key of the tests.
type signer struct {
	private *ecdsa.PrivateKey
	public  *ima.PublicKey
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ima.BareKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &signer{private, public}
}

// batch returns digests with the numbers from from to to.
func (s *signer) batch(from, to int) signing.Batch {
	b := signing.Batch{Key: s.public, Form: ima.ContentSignature(), Hash: ima.SHA256}
	for i := from; i < to; i++ {
		digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		b.Digests = append(b.Digests, digest[:])
	}
	return b
}

func (s *signer) sign(t testing.TB, b signing.Batch) (signatures [][]byte) {
	t.Helper()
	for _, digest := range b.Digests {
		signature, err := s.private.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, signature)
	}
	return signatures
}

// open opens a cache, and closes it when the test ends.
func open(t testing.TB, dir string, o Options) (*Store, *harness.Warnings) {
	t.Helper()
	w := &harness.Warnings{}
	o.Warn = w.Add
	s, err := Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, w
}

func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "cache") }

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

func TestPutAndGet(t *testing.T) {
	key, other := newSigner(t), newSigner(t)
	s, w := open(t, newDir(t), Options{})
	ctx := context.Background()
	b := key.batch(0, 300)
	signatures := key.sign(t, b)
	if got := s.Get(ctx, b); !equal(got, make([][]byte, 300)) {
		t.Error("an empty cache has signatures")
	}
	if kept := s.Put(ctx, b, signatures, make([][]byte, 300)); !equal(kept, signatures) {
		t.Error("Put did not keep the signatures")
	}
	if got := s.Get(ctx, b); !equal(got, signatures) {
		t.Error("Get did not return the signatures")
	}
	different := b
	different.Form = ima.VeritySignature()
	for _, b := range []signing.Batch{different, other.batch(0, 300), key.batch(300, 310)} {
		if got := s.Get(ctx, b); !equal(got, make([][]byte, len(b.Digests))) {
			t.Error("Get returned signatures of something else")
		}
	}
	w.Check(t)
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

func TestTheFirstSignatureIsKept(t *testing.T) {
	key := newSigner(t)
	dir, ctx := newDir(t), context.Background()
	one, w := open(t, dir, Options{})
	two, _ := open(t, dir, Options{})
	b := key.batch(0, 100)
	first, second := key.sign(t, b), key.sign(t, b)
	one.Put(ctx, b, first, nil)
	if kept := two.Put(ctx, b, second, nil); !equal(kept, first) {
		t.Error("the second Put does not agree with the first")
	}
	// A signature that was refused is replaced, unless another process has done so.
	refused := make([][]byte, 100)
	refused[7], refused[8] = first[7], second[8]
	want := slices.Clone(first)
	want[7] = second[7]
	if kept := two.Put(ctx, b, second, refused); !equal(kept, want) {
		t.Error("not just the refused signature was replaced")
	}
	if kept := one.Put(ctx, b, first, refused); !equal(kept, want) {
		t.Error("the replaced signature was replaced again")
	}
	w.Check(t, "signatures that are not valid", one.Path())
}

func TestDays(t *testing.T) {
	key := newSigner(t)
	now := time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)
	s, _ := open(t, newDir(t), Options{Now: func() time.Time { return now }})
	ctx := context.Background()
	b := key.batch(0, 10)
	s.Put(ctx, b, key.sign(t, b), nil)
	changes := func() int64 {
		n, err := s.db.number(ctx, "SELECT total_changes()")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for day, want := range []int64{0, 10, 10} {
		before := changes()
		s.Get(ctx, b)
		s.Get(ctx, b)
		if n := changes() - before; n != want {
			t.Errorf("day %d: %d rows changed, want %d", day, n, want)
		}
		stats, err := s.Stats(ctx)
		if err != nil || len(stats.Keys) != 1 {
			t.Fatal(stats, err)
		}
		if k := stats.Keys[0]; k.Entries != 10 || !k.Oldest.Equal(now.Truncate(24*time.Hour)) || !k.Newest.Equal(k.Oldest) {
			t.Errorf("day %d: %+v", day, k)
		}
		now = now.Add(2 * time.Minute).Add(time.Duration(day) * 24 * time.Hour)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	if _, err := Open(ctx, newDir(t), Options{Existing: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if _, err := Open(ctx, t.TempDir(), Options{Existing: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing database: %v", err)
	}
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "no", "cache"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing parent: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
}

// TestContextsThatEnd ends the contexts of some uses of a cache at any moment. Others continue.
func TestContextsThatEnd(t *testing.T) {
	key := newSigner(t)
	dir := newDir(t)
	s, w := open(t, dir, Options{})
	b := key.batch(0, 640)
	signatures := key.sign(t, b)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 100 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*worker)*50*time.Microsecond)
				s.Put(ctx, b, signatures, nil)
				s.Get(ctx, b)
				cancel()
			}
		})
	}
	all.Wait()
	w.Check(t)
	if kept := s.Put(context.Background(), b, signatures, nil); !equal(kept, signatures) {
		t.Error("Put does not keep signatures any more")
	}
	if _, err := os.Stat(s.aside()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the database was put aside: %v", err)
	}
	works(t, s, key)
}
