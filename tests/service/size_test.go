package service

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestMemoryOfAMillionDigests signs 100,000 digests, and a million: neither the client nor the
// server needs much more memory.
func TestMemoryOfAMillionDigests(t *testing.T) {
	nightly(t)
	s := started(t, harness.Keys(t, "p256"))
	var client, server [2]int64
	for i, n := range []int{100_000, 1_000_000} {
		in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
		digests(t, in, n)
		r := harness.RunCommandMeasured(t, s.command(s.build(), "manifest sign", in, "-o", out))
		if r.Code != 0 {
			t.Fatalf("exit %d\n%s", r.Code, r.Err)
		}
		client[i], server[i] = r.MaxRSS, s.peak()
		t.Logf("%d digests: client %d MiB, server %d MiB", n, client[i]>>20, server[i]>>20)
		check(t, os.Remove(in))
		check(t, os.Remove(out))
	}
	if client[1] > client[0]*3/2 || server[1] > server[0]*3/2 {
		t.Error("memory grows with the number of digests")
	}
	t.Logf("%.0f digests a request", s.perRequest())
	s.slim()
}

// digests writes a manifest of n files with random digests.
func digests(t testing.TB, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	check(t, err)
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, `{"imasign_manifest":1,"tool":"test","container":"tree","hash":"sha256","entries":%d}`+"\n", n)
	for i := range n {
		fmt.Fprintf(w, `{"path":"file-%07d","kind":"file","size":1,"mode":"0644","uid":0,"gid":0,"hash":"sha256","digest":"%x"}`+"\n", i, random(32))
	}
	check(t, w.Flush())
	check(t, f.Close())
}

// perRequest returns how many digests a request had on average.
func (s *service) perRequest() float64 {
	s.Helper()
	return s.metric("imasign_signatures_total") / s.metric("imasign_batches_total")
}
