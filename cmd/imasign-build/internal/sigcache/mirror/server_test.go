package mirror_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/tests/harness"
)

// many is a number of signatures whose shards are so few that the tests are fast.
const many = 60

// server serves a directory, and remembers what it was asked for.
type server struct {
	*httptest.Server
	files http.Handler

	mu       sync.Mutex
	requests []*http.Request
}

// serve starts a server. If answer is not nil, it may answer requests, and returns whether it
// did.
func serve(t testing.TB, dir string, answer func(w http.ResponseWriter, r *http.Request) bool) *server {
	t.Helper()
	s := &server{files: http.FileServer(http.Dir(dir))}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		if answer == nil || !answer(w, r) {
			s.files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// asked returns the names of the files that were asked for since the last call.
func (s *server) asked() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		list = append(list, strings.TrimPrefix(r.URL.Path, "/"))
	}
	s.requests = nil
	slices.Sort(list)
	return list
}

func isIndex(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, shards.IndexName) }

func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	check(t, err)
	for _, f := range files {
		list = append(list, f.Name())
	}
	return list
}

// tagged answers with an ETag of the index, as servers do.
func tagged(tag *string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if isIndex(r) {
			w.Header().Set("ETag", *tag) // http.FileServer compares it
		}
		return false
	}
}

func TestFilesAreFetchedOnce(t *testing.T) {
	t.Parallel()
	s := share(t, filepath.Join(t.TempDir(), "shared"), many)
	cache, tag := t.TempDir(), `"1"`
	server := serve(t, s.dir, tagged(&tag))
	m, w := open(t, server.URL+"/", cache)
	one := s.batch
	one.Digests = one.Digests[:1]
	m.Get(context.Background(), one)
	if asked := server.asked(); len(asked) != 2 || !strings.HasSuffix(asked[0], ".shard") {
		t.Errorf("for one digest: %q", asked)
	}
	if n := s.hits(t, m); n != many {
		t.Errorf("%d hits", n)
	}
	if want, asked := len(names(t, s.dir))-2, server.asked(); len(asked) != want {
		t.Errorf("%d requests, not %d: %q", len(asked), want, asked)
	}
	w.Check(t)
	info, err := os.Stat(m.Kept())
	check(t, err)
	if info.Mode().Perm() != 0o700 || !strings.HasPrefix(m.Kept(), filepath.Join(cache, "mirror")+"/") {
		t.Errorf("%s: %v", m.Kept(), info.Mode())
	}

	m, w = open(t, server.URL+"/", cache) // another run
	if n, asked := s.hits(t, m), server.asked(); n != many || len(asked) != 1 {
		t.Errorf("%d hits, requests: %q", n, asked)
	}
	w.Check(t)
}

// TestETag counts the bytes that are sent for an index.
func TestETag(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	tag, status := `W/"one"`, 0
	server := serve(t, s.dir, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", tag)
		if !isIndex(r) {
			return false
		}
		recorder := httptest.NewRecorder()
		recorder.Header().Set("ETag", tag)
		http.FileServer(http.Dir(s.dir)).ServeHTTP(recorder, r)
		status = recorder.Code
		w.WriteHeader(status)
		_, _ = w.Write(recorder.Body.Bytes())
		return true
	})
	cache := t.TempDir()
	run := func(want int) *harness.Warnings {
		t.Helper()
		m, w := open(t, server.URL, cache)
		if n := s.hits(t, m); n != many || status != want {
			t.Errorf("%d hits, status %d, not %d", n, status, want)
		}
		return w
	}
	run(200).Check(t)
	run(304).Check(t)
	s.sign(t, 0)
	tag = `"two"`
	run(200).Check(t)
	run(304).Check(t)
	kept, err := filepath.Glob(filepath.Join(cache, "mirror", "*", shards.IndexName))
	check(t, err)
	check(t, os.WriteFile(kept[0], []byte("imasign-signatures 1 0\n"), 0o600)) // its ETag is another index's
	run(200).Check(t)
	check(t, os.WriteFile(kept[0], []byte("garbage"), 0o600))
	run(200).Check(t)
}

func TestOldShardsAreRemoved(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, nil)
	cache := t.TempDir()
	m, w := open(t, server.URL, cache)
	s.hits(t, m)
	w.Check(t)
	s.replace(t)
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range names(t, m.Kept()) {
		check(t, os.Chtimes(filepath.Join(m.Kept(), name), long, long))
	}
	check(t, os.WriteFile(filepath.Join(m.Kept(), ".ima-signatures-left"), nil, 0o600))
	check(t, os.Chtimes(filepath.Join(m.Kept(), ".ima-signatures-left"), long, long))
	m, w = open(t, server.URL, cache)
	if n := s.hits(t, m); n != many {
		t.Errorf("%d hits", n)
	}
	w.Check(t)
	want := slices.Sorted(slices.Values(append(names(t, s.dir), "etag")))
	if got := slices.Sorted(slices.Values(names(t, m.Kept()))); !slices.Equal(got, want) {
		t.Errorf("kept %d files, not %d", len(got), len(want))
	}
}

// TestNewExportOnServer is TestNewExport with a server.
func TestNewExportOnServer(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, nil)
	m, w := open(t, server.URL, t.TempDir())
	one := s.batch
	one.Digests = one.Digests[:1]
	if m.Get(context.Background(), one)[0] == nil {
		t.Fatal("no hit")
	}
	s.replace(t)
	if n := s.hits(t, m); n != many {
		t.Errorf("%d hits", n)
	}
	w.Check(t)
}

func TestOffline(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, nil)
	cache := t.TempDir()
	m, w := open(t, server.URL, cache)
	one := s.batch
	one.Digests = one.Digests[:many/2]
	m.Get(context.Background(), one)
	w.Check(t)
	server.Close()
	m, w = open(t, server.URL, cache)
	if n := s.hits(t, m); n < many/2 || n == many {
		t.Errorf("%d hits", n)
	}
	w.Check(t, "cache mirror "+server.URL+": fetch ima-signatures.index: ", "connection refused", "only signatures that were fetched earlier are used")
	m, w = open(t, server.URL, t.TempDir())
	if n := s.hits(t, m); n != 0 {
		t.Errorf("%d hits", n)
	}
	w.Check(t, "connection refused; it is not used")
	for _, err := range m.Entries(context.Background()) {
		if err == nil || !strings.Contains(err.Error(), "cache mirror "+server.URL) {
			t.Error(err)
		}
	}
}

// TestInterrupt ends the context of a run while it waits. That is no fault of the mirror.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	ctx, cancel := context.WithCancel(context.Background())
	var once sync.Once
	server := serve(t, s.dir, func(_ http.ResponseWriter, r *http.Request) bool {
		wait := false
		if !isIndex(r) {
			once.Do(func() { wait = true; cancel(); <-r.Context().Done() })
		}
		return wait
	})
	m, w := open(t, server.URL, t.TempDir())
	if found := m.Get(ctx, s.batch); len(found) != many {
		t.Errorf("%d results", len(found))
	}
	w.Check(t)
	if n := s.hits(t, m); n != many { // another plan goes on
		t.Errorf("%d hits", n)
	}
	w.Check(t)
}

// TestKeptShardsAreRepaired damages what was fetched. The next run says so, and the one after it
// has fetched it again.
func TestKeptShardsAreRepaired(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, nil)
	cache := t.TempDir()
	m, w := open(t, server.URL, cache)
	s.hits(t, m)
	w.Check(t)
	line, path := s.line(t)
	kept := filepath.Join(m.Kept(), filepath.Base(path))
	content, err := os.ReadFile(kept)
	check(t, err)
	for name, change := range map[string]func() error{
		"removed":   func() error { return os.Remove(kept) },
		"truncated": func() error { return os.Truncate(kept, 10) },
		"header":    func() error { return os.WriteFile(kept, make([]byte, len(content)), 0o600) },
		"records": func() error {
			return os.WriteFile(kept, append(slices.Clone(content[:len(content)-100]), make([]byte, 100)...), 0o600)
		},
	} {
		check(t, change())
		m, w := open(t, server.URL, cache)
		if n := s.hits(t, m); n != many && n != many-int(line.Entries) {
			t.Errorf("%s: %d hits", name, n)
		}
		if len(w.List()) > 0 {
			w.Check(t, "read "+line.Name()+": damaged")
		}
		m, w = open(t, server.URL, cache)
		if n := s.hits(t, m); n != many {
			t.Errorf("%s: %d hits after the repair", name, n)
		}
		w.Check(t)
	}
}
