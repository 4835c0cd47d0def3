package mirror_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

// task is what a process of its own looks for. It gets it as JSON.
type task struct {
	Key         []byte
	Digests     [][]byte
	Name, Cache string
}

// outcome is what the process prints.
type outcome struct {
	Valid    int
	Warnings []string
}

const taskVariable = "MIRROR_TEST_TASK"

func TestMain(m *testing.M) {
	if text := os.Getenv(taskVariable); text != "" {
		work(text)
		return
	}
	os.Exit(m.Run())
}

// work is the process of a task.
func work(path string) {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	text, err := os.ReadFile(path)
	must(err)
	var t task
	must(json.Unmarshal(text, &t))
	public, err := (&sigcache.Entry{Key: t.Key}).Public()
	must(err)
	var o outcome
	m, err := mirror.New(t.Name, mirror.Options{Cache: t.Cache, Warn: func(text string) { o.Warnings = append(o.Warnings, text) }})
	must(err)
	b := signing.Batch{Key: public, Form: ima.ContentSignature(), Hash: ima.SHA256, Digests: t.Digests}
	for i, signature := range m.Get(context.Background(), b) {
		if public.Verify(ima.Statement{Form: b.Form, Hash: b.Hash, Digest: b.Digests[i]}, signature) == nil {
			o.Valid++
		}
	}
	must(m.Close())
	must(json.NewEncoder(os.Stdout).Encode(o))
}

// process returns a command that looks for the signatures in a process of its own.
func (s *shared) process(t testing.TB, name, cache string, env ...string) *exec.Cmd {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	check(t, err)
	text, err := json.Marshal(task{der, s.batch.Digests, name, cache})
	check(t, err)
	path := filepath.Join(t.TempDir(), "task")
	check(t, os.WriteFile(path, text, 0o600))
	c := exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), taskVariable+"="+path), env...)
	c.Stderr = os.Stderr
	return c
}

// finds fails the test unless a process finds all signatures, or warns with these parts.
func (s *shared) finds(t testing.TB, c *exec.Cmd, warning ...string) {
	t.Helper()
	text, err := c.Output()
	if err != nil {
		t.Errorf("process: %v", err)
		return
	}
	var o outcome
	check(t, json.Unmarshal(text, &o))
	if warning == nil && o.Valid != len(s.want) {
		t.Errorf("%d valid signatures of %d", o.Valid, len(s.want))
	}
	var w harness.Warnings
	for _, text := range o.Warnings {
		w.Add(text)
	}
	w.Check(t, warning...)
}

func TestEightProcesses(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, nil)
	cache := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		c := s.process(t, server.URL, cache)
		group.Go(func() { s.finds(t, c) })
	}
	group.Wait()
	m, w := open(t, server.URL, cache)
	server.asked()
	if n, asked := s.hits(t, m), server.asked(); n != many || len(asked) != 1 {
		t.Errorf("%d hits, requests %q", n, asked)
	}
	w.Check(t)
	noTemporaryFiles(t, m.Kept())
}

// TestKilled kills processes that have received half a shard.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	half := make(chan struct{}, many)
	var whole atomic.Bool
	server := serve(t, s.dir, func(w http.ResponseWriter, r *http.Request) bool {
		if isIndex(r) || whole.Load() {
			return false
		}
		content, _ := os.ReadFile(filepath.Join(s.dir, filepath.Base(r.URL.Path)))
		_, _ = w.Write(content[:len(content)/2])
		w.(http.Flusher).Flush()
		half <- struct{}{}
		<-r.Context().Done()
		return true
	})
	cache := t.TempDir()
	for range 5 {
		c := s.process(t, server.URL, cache)
		check(t, c.Start())
		<-half
		check(t, c.Process.Kill())
		if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("process: %v", err)
		}
	}
	server.CloseClientConnections()
	whole.Store(true)
	s.finds(t, s.process(t, server.URL, cache))
	s.finds(t, s.process(t, server.URL, cache))
}

// TestExportsAndReaders has mirrors read a directory while others are exported into it.
func TestExportsAndReaders(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	server := serve(t, s.dir, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 15 {
			s.sign(t, -1)
		}
	}()
	cache := t.TempDir()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for _, name := range []string{s.dir, server.URL} {
			m, w := open(t, name, cache)
			for i, signature := range m.Get(context.Background(), s.batch) {
				if err := s.batch.Key.Verify(ima.Statement{Form: s.batch.Form, Hash: s.batch.Hash, Digest: s.batch.Digests[i]}, signature); err != nil {
					t.Fatalf("digest %d: %v", i, err)
				}
			}
			w.Check(t)
		}
	}
}
