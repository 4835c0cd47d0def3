package mirror_test

import (
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

// forever writes until the client has enough.
func forever(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
	}
}

// drip sends a byte now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = w.Write([]byte("i"))
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

func stall(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte("i"))
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// cut sends fewer bytes than it announces.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "200")
	_, _ = w.Write([]byte("imasign-signatures 1 0\n"))
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

// bomb sends the answer of another handler compressed, although nobody asked for that.
func bomb(w http.ResponseWriter, r *http.Request) {
	if e := r.Header.Get("Accept-Encoding"); e != "" {
		panic("asks for " + e)
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = z.Write(make([]byte, 1<<20))
	z.Close()
}

// largest is an index that is right, and whose shards are too large together.
func largest(w http.ResponseWriter, _ *http.Request) {
	var x shards.Index
	for i := range 256 {
		x = append(x, shards.Shard{First: byte(i), Size: shards.MaxShard, Entries: 1})
	}
	_, _ = w.Write(x.Text())
}

// flipped sends a file with one other bit.
func flipped(dir string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		content, _ := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)))
		content[len(content)-1] ^= 1
		_, _ = w.Write(content)
	}
}

func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	long := time.Minute
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		stall   time.Duration // limits
		request time.Duration
		index   string // what is said if the answer is for the index, "" to leave this out
		shard   string // likewise
	}{
		"not found":    {status(404), long, long, "status 404 Not Found", "file does not exist on the server"},
		"gone":         {status(410), long, long, "status 410", "file does not exist on the server"},
		"error":        {status(503), long, long, "status 503 Service Unavailable", "status 503"},
		"partial":      {status(206), long, long, "status 206", "status 206"},
		"not modified": {status(304), long, long, "status 304", "status 304"},
		"odd status":   {status(999), long, long, "status 999", "status 999"},
		"cut":          {cut, long, long, "the data ends too early", "damaged: 200 bytes, not"},
		"endless":      {forever, long, long, "larger than 65536 bytes", "damaged: not"},
		"stalled":      {stall, 200 * time.Millisecond, long, "the server does not send anything", "the server does not send anything"},
		"slow":         {drip, long, 300 * time.Millisecond, "the server is too slow", "the server is too slow"},
		"garbage":      {text("<html>\x1b[31m"), long, long, "damaged: not an index", "damaged: "},
		"newer":        {text("imasign-signatures 2 0\n"), long, long, "written by a newer version of this program", ""},
		"compressed":   {bomb, long, long, `compressed ("gzip"), without being asked to`, `compressed ("gzip")`},
		"too much":     {largest, long, long, "its shards have 17179869184 bytes, more than 4294967296", ""},
		"another hash": {flipped(s.dir), long, long, "", "its SHA-256 digest is not that in its name"},
	} {
		for file, want := range map[string]string{"index": c.index, "shard": c.shard} {
			if want == "" {
				continue
			}
			t.Run(name+" "+file, func(t *testing.T) {
				t.Parallel()
				server := serve(t, s.dir, func(w http.ResponseWriter, r *http.Request) bool {
					if isIndex(r) == (file == "index") {
						c.answer(w, r)
						return true
					}
					return false
				})
				m, w := open(t, server.URL, t.TempDir())
				m.SetLimits(c.stall, c.request, long)
				for range 2 {
					if n := s.hits(t, m); n != 0 {
						t.Errorf("%d hits", n)
					}
				}
				if text := w.Check(t, "cache mirror "+server.URL+": ", "fetch ima-signatures", want); strings.Contains(text, "\x1b") {
					t.Errorf("the warning has text of the server: %q", text)
				}
				before := len(server.asked())
				s.hits(t, m)
				if again := server.asked(); len(again) != 0 {
					t.Errorf("is asked again, after %d requests: %q", before, again)
				}
				noTemporaryFiles(t, m.Kept())
			})
		}
	}
}

func noTemporaryFiles(t testing.TB, dir string) {
	t.Helper()
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, ".") {
			t.Errorf("left: %s", name)
		}
	}
}

// TestNoHTTP has a server that sends something else.
func TestNoHTTP(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), 1)
	for _, answer := range []string{"220 mail.example ESMTP\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), strings.Repeat("\x1b[31m\n", 1000), "HTTP/1.1 " + strings.Repeat("2", 60000) + "\r\n\r\n", ""} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(answer))
				_ = c.Close()
			}
		}()
		m, w := open(t, "http://"+listener.Addr().String(), t.TempDir())
		s.hits(t, m)
		if text := w.Check(t, "fetch ima-signatures.index: "); len(text) > 600 || strings.Contains(text, "\x1b") {
			t.Errorf("the warning has text of the server: %q", text)
		}
		check(t, listener.Close())
	}
}

// TestTotal has a server that takes time for each file, but not too much.
func TestTotal(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(60 * time.Millisecond)
		return false
	})
	m, w := open(t, server.URL, t.TempDir())
	m.SetLimits(time.Minute, time.Minute, 200*time.Millisecond)
	if n := s.hits(t, m); n == many {
		t.Error("everything was fetched")
	}
	w.Check(t, "fetching takes too long")
}

// TestRestlessIndex has a server with another index each time, which never has the shards in it.
func TestRestlessIndex(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	var version atomic.Int64
	server := serve(t, s.dir, func(w http.ResponseWriter, r *http.Request) bool {
		if !isIndex(r) {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		var x shards.Index
		for first := range 256 {
			sum := sha256.Sum256(fmt.Append(nil, version.Add(1)))
			x = append(x, shards.Shard{First: byte(first), SHA256: sum, Size: 1000, Entries: 1})
		}
		_, _ = w.Write(x.Text())
		return true
	})
	m, w := open(t, server.URL, t.TempDir())
	if n := s.hits(t, m); n != 0 {
		t.Errorf("%d hits", n)
	}
	w.Check(t, "its index changes all the time")
	indexes := 0
	for _, name := range server.asked() {
		if name == shards.IndexName {
			indexes++
		}
	}
	if indexes > 16 {
		t.Errorf("the index was fetched %d times", indexes)
	}
}
