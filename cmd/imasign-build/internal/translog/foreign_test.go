package translog

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestForeignVerifier lets tests/translog read logs: the client of transparency-dev/tessera, in a
// module of its own, so that the program does not depend on it.
func TestForeignVerifier(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another module")
	}
	verifier := filepath.Join(t.TempDir(), "verifier")
	harness.Must(t, "go", "build", "-C", "../../../../tests/translog", "-o", verifier, ".")
	secret, public, err := note.GenerateKey(nil, "example.org/log")
	must(t, err)
	key, err := note.NewSigner(secret)
	must(t, err)
	dir, proofs := filepath.Join(memoryDir(t), "log"), t.TempDir()
	must(t, Create(dir, key))
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	server := httptest.NewServer(l.Handler())
	defer server.Close()
	old := filepath.Join(t.TempDir(), "old")
	must(t, os.WriteFile(old, l.Checkpoint(), 0o600))
	made := 0
	for _, n := range []int{1, 1, 5, 248, 1, 1, 300} { // 1, 2, 7, 255, 256, 257 and 557 records
		from := int(l.Size())
		for i, proof := range grow(t, l, from, from+n) {
			if number := from + i; number%40 == 0 {
				record, _ := recordOf(t, number, number%5)
				name := filepath.Join(proofs, fmt.Sprint(number))
				must(t, os.WriteFile(name+".tlog-proof", []byte(proof), 0o600))
				must(t, os.WriteFile(name+".record", record, 0o600))
				made++
			}
		}
		if got, want := harness.Must(t, verifier, server.URL+"/", public, old, proofs), fmt.Sprintf("%d %d\n", l.Size(), made); got != want {
			t.Errorf("%d records: %q, not %q", l.Size(), got, want)
		}
		must(t, os.WriteFile(old, l.Checkpoint(), 0o600))
	}
	fork, err := Open(t.Context(), forkOf(t, key), key, Options{})
	must(t, err)
	defer fork.Close()
	other := httptest.NewServer(fork.Handler())
	defer other.Close()
	if result := harness.Run(t, verifier, other.URL+"/", public, old, proofs); result.Code == 0 {
		t.Error("a fork was not noticed")
	}
}

// forkOf makes a log of another history.
func forkOf(t *testing.T, key note.Signer) string {
	t.Helper()
	dir := filepath.Join(memoryDir(t), "fork")
	must(t, Create(dir, key))
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	grow(t, l, 1000, 1600)
	must(t, l.Close())
	return dir
}
