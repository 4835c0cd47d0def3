package mirror_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shared is an exported cache with real signatures.
type shared struct {
	dir   string
	key   *ecdsa.PrivateKey
	batch signing.Batch
	want  [][]byte // the signature of each digest
}

// share exports n signatures of a new key.
func share(t testing.TB, dir string, n int) *shared {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	check(t, err)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	s := &shared{dir: dir, key: private, want: make([][]byte, n)}
	s.batch = signing.Batch{Key: public, Form: ima.ContentSignature(), Hash: ima.SHA256}
	for i := range n {
		digest := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		s.batch.Digests = append(s.batch.Digests, digest[:])
	}
	s.sign(t, -1)
	return s
}

// sign makes all signatures, but not those that are in the shard of the digest keep, and exports
// them.
func (s *shared) sign(t testing.TB, keep int) {
	t.Helper()
	der, err := sigcache.KeyOf(s.batch.Key)
	check(t, err)
	list := make([]sigcache.Entry, len(s.want))
	for i, digest := range s.batch.Digests {
		list[i] = sigcache.Entry{Key: der, Form: s.batch.Form, Hash: s.batch.Hash, Digest: digest}
	}
	for i := range list {
		if keep < 0 || list[i].Address()[0] != list[keep].Address()[0] {
			s.want[i], err = ecdsa.SignASN1(rand.Reader, s.key, list[i].Digest)
			check(t, err)
		}
		list[i].Signature = s.want[i]
	}
	slices.SortFunc(list, func(x, y sigcache.Entry) int {
		a, b := x.Address(), y.Address()
		return int(a[0]) - int(b[0])
	})
	_, err = shards.Export(context.Background(), s.dir, func(yield func(sigcache.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	})
	check(t, err)
}

// hits returns how many of the signatures a mirror finds. Others than the right ones are an
// error.
func (s *shared) hits(t testing.TB, m *mirror.Mirror) (n int) {
	t.Helper()
	found := m.Get(context.Background(), s.batch)
	if len(found) != len(s.want) {
		t.Fatalf("%d results for %d digests", len(found), len(s.want))
	}
	for i, signature := range found {
		if signature == nil {
			continue
		}
		if n++; string(signature) != string(s.want[i]) {
			t.Errorf("digest %d: another signature", i)
		}
	}
	return n
}

func open(t testing.TB, name, cache string) (*mirror.Mirror, *harness.Warnings) {
	t.Helper()
	w := new(harness.Warnings)
	m, err := mirror.New(name, mirror.Options{Cache: cache, Warn: w.Add})
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	return m, w
}
