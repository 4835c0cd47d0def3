package mirror_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
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
	der, err := sigcache.KeyOf(public)
	check(t, err)
	s := &shared{dir: dir, batch: signing.Batch{Key: public, Form: ima.ContentSignature(), Hash: ima.SHA256}}
	var list []sigcache.Entry
	for i := range n {
		digest := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		signature, err := private.Sign(nil, digest[:], crypto.SHA256)
		check(t, err)
		s.batch.Digests, s.want = append(s.batch.Digests, digest[:]), append(s.want, signature)
		list = append(list, sigcache.Entry{Key: der, Form: s.batch.Form, Hash: ima.SHA256, Digest: digest[:], Signature: signature})
	}
	s.export(t, list)
	return s
}

func (s *shared) export(t testing.TB, list []sigcache.Entry) {
	t.Helper()
	slices.SortFunc(list, func(x, y sigcache.Entry) int {
		a, b := x.Address(), y.Address()
		return int(a[0]) - int(b[0])
	})
	_, err := shards.Export(context.Background(), s.dir, func(yield func(sigcache.Entry, error) bool) {
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

// warnings collects what a mirror warns of.
type warnings struct {
	mu   sync.Mutex
	list []string
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

// want fails the test unless there was one warning with these parts, or none if there are no
// parts.
func (w *warnings) want(t testing.TB, parts ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) != min(1, len(parts)) {
		t.Fatalf("warnings: %q", w.list)
	}
	for _, part := range parts {
		if !strings.Contains(w.list[0], part) {
			t.Errorf("warning lacks %q: %s", part, w.list[0])
		}
	}
}

func open(t testing.TB, name, cache string) (*mirror.Mirror, *warnings) {
	t.Helper()
	w := new(warnings)
	m, err := mirror.New(name, mirror.Options{Cache: cache, Warn: w.add})
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	return m, w
}

func TestDirectory(t *testing.T) {
	s := share(t, filepath.Join(t.TempDir(), "shared"), 300)
	for _, name := range []string{s.dir, "file:" + s.dir, "file://" + s.dir, "file://localhost" + s.dir} {
		m, w := open(t, name, "")
		if n := s.hits(t, m); n != 300 {
			t.Errorf("%s: %d hits", name, n)
		}
		w.want(t)
	}
}

func TestServer(t *testing.T) {
	s := share(t, filepath.Join(t.TempDir(), "shared"), 300)
	var requests []string
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.URL.Path)
		mu.Unlock()
		http.FileServer(http.Dir(s.dir)).ServeHTTP(w, r)
	}))
	defer server.Close()
	cache := t.TempDir()
	m, w := open(t, server.URL, cache)
	if n := s.hits(t, m); n != 300 {
		t.Errorf("%d hits", n)
	}
	w.want(t)
	files, err := os.ReadDir(s.dir)
	check(t, err)
	if len(requests) != len(files) {
		t.Errorf("%d requests for %d files", len(requests), len(files))
	}
	requests = nil
	m, w = open(t, server.URL, cache) // a second run
	if n := s.hits(t, m); n != 300 || len(requests) != 1 {
		t.Errorf("%d hits, requests %q", n, requests)
	}
	w.want(t)
}
