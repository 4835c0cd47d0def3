package protocol

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

const (
	page    = "../../docs/protocol.md"
	vectors = "../../internal/protocol/testdata/vectors.json"
	python  = "/usr/bin/python3" // the one that has Debian's modules
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestVectors lets the peer check what this program makes.
func TestVectors(t *testing.T) {
	out := harness.Must(t, harness.Tool(t, python), "-B", "peer.py", "check", page, vectors)
	if out != "125 checks\n" {
		t.Errorf("got %s", out)
	}
}

// TestPeerNotices changes one digit of each kind of vector, and a code in the page.
func TestPeerNotices(t *testing.T) {
	harness.Tool(t, python)
	good, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, text, vectors []byte) {
		dir := t.TempDir()
		for file, content := range map[string][]byte{"page": text, "vectors": vectors} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := harness.Run(t, python, "-B", "peer.py", "check", filepath.Join(dir, "page"), filepath.Join(dir, "vectors")); r.Code == 0 {
			t.Errorf("%s: the peer found nothing", name)
		}
	}
	for _, after := range []string{`"payload": "`, `"signature": "30`, `"leaf": "`, `"root": "`, `"record": "`, `"details": "`, `"proof": "c2sp.org/tlog-proof@v1\nindex `} {
		changed := bytes.Clone(good)
		at := bytes.Index(good, []byte(after)) + len(after)
		changed[at] = "0123456789abcdef1"[strings.IndexByte("f0123456789abcde", changed[at])]
		check(after, text, changed)
	}
	for from, to := range map[string]string{"| `busy` | 429 |": "| `busy` | 503 |", "  3 => [* bstr],": "  3 => [* tstr],", "  5 => bstr .size 16,": "  5 => bstr .size 32,"} {
		changed := bytes.Replace(text, []byte(from), []byte(to), 1)
		if bytes.Equal(changed, text) {
			t.Errorf("the page has no %q", from)
		}
		check(from, changed, good)
	}
}

// TestOpensThePeersRequests opens requests that the peer made.
func TestOpensThePeersRequests(t *testing.T) {
	out := harness.Must(t, harness.Tool(t, python), "-B", "peer.py", "seal")
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	opened := 0
	for line := range strings.Lines(out) {
		body, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		r, err := protocol.Open(body)
		if err != nil {
			t.Errorf("%.80s: %v", line, err)
			continue
		}
		if again, err := protocol.Seal(r, key); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%.80s: another envelope: %v", line, err)
		}
		opened++
	}
	if opened != 25 {
		t.Errorf("%d were opened", opened)
	}
}
