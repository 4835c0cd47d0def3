package mirror_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

func TestRedirects(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	plain := serve(t, s.dir, nil)
	secure := httptest.NewTLSServer(http.FileServer(http.Dir(s.dir)))
	t.Cleanup(secure.Close)
	hops := func(n int, end string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var i int
			if _, err := fmt.Sscanf(r.URL.Query().Get("hop"), "%d", &i); err == nil && i >= n {
				http.Redirect(w, r, end+r.URL.Path, http.StatusFound)
				return
			}
			http.Redirect(w, r, fmt.Sprintf("%s?hop=%d", r.URL.Path, i+1), http.StatusTemporaryRedirect)
		}
	}
	for name, c := range map[string]struct {
		secure bool
		answer http.HandlerFunc
		want   string // "" if the redirect is followed
	}{
		"http to http":   {false, hops(0, plain.URL), ""},
		"http to https":  {false, hops(0, secure.URL), ""},
		"https to https": {true, hops(0, secure.URL), ""},
		"https to http":  {true, hops(0, plain.URL), "redirect from https to http is refused"},
		"five":           {false, hops(4, plain.URL), ""},
		"six":            {false, hops(5, plain.URL), "more than 5 redirects"},
		"endless":        {false, hops(1<<30, plain.URL), "more than 5 redirects"},
		"file":           {false, hops(0, "file://"+s.dir), "redirect from http to file is refused"},
		"ftp":            {true, hops(0, "ftp://localhost"), "redirect from https to ftp is refused"},
		"nowhere":        {false, hops(0, "http://u:secret@127.0.0.1:1/"), "connection refused"},
		"invalid": {false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://u:secret@[/")
			w.WriteHeader(http.StatusFound)
		}, "fetch"},
		"to nothing": {false, status(302), "fetch"},
	} {
		start := httptest.NewServer
		if c.secure {
			start = httptest.NewTLSServer
		}
		server := start(c.answer)
		t.Cleanup(server.Close)
		m, w := open(t, server.URL, t.TempDir())
		m.SetTransport(secure.Client().Transport) // all servers of httptest have one certificate
		n := s.hits(t, m)
		if c.want == "" {
			if n != many {
				t.Errorf("%s: %d hits", name, n)
			}
			w.Check(t)
			continue
		}
		if n != 0 {
			t.Errorf("%s: %d hits", name, n)
		}
		if text := w.Check(t, c.want); strings.Contains(text, "secret") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestPasswords has a server that needs a password, and sends clients elsewhere.
func TestPasswords(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	other := serve(t, s.dir, nil)
	server := serve(t, s.dir, func(w http.ResponseWriter, r *http.Request) bool {
		switch user, password, _ := r.BasicAuth(); {
		case user != "builder" || password != "secret:@/":
			w.WriteHeader(http.StatusUnauthorized)
		case isIndex(r) && !strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, "/moved"+r.URL.Path, http.StatusFound) // needs the password again
		case isIndex(r):
			content, _ := os.ReadFile(filepath.Join(s.dir, shards.IndexName))
			_, _ = w.Write(content)
		default:
			http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://mallory:guess@", 1)+r.URL.Path, http.StatusFound)
		}
		return true
	})
	name := strings.Replace(server.URL, "http://", "http://builder:"+url.QueryEscape("secret:@/")+"@", 1)
	m, w := open(t, name, t.TempDir())
	if n := s.hits(t, m); n != many || m.String() != server.URL {
		t.Errorf("%s: %d hits", m, n)
	}
	w.Check(t)
	for _, r := range other.requests {
		var dump bytes.Buffer
		check(t, r.Header.Write(&dump))
		if r.Header.Get("Authorization") != "" || strings.Contains(dump.String()+r.URL.String(), "secret") {
			t.Fatalf("another server is told: %s", dump.String())
		}
	}
	if len(other.requests) == 0 {
		t.Error("the other server was not asked")
	}
	m, w = open(t, strings.Replace(name, "secret", "Secret", 1), t.TempDir())
	s.hits(t, m)
	w.Add(w.Check(t, "status 401"))
	for _, err := range m.Entries(context.Background()) {
		w.Add(err.Error())
	}
	for _, text := range w.List() {
		if strings.Contains(strings.ToLower(text), "secret") {
			t.Error(text)
		}
	}
}
