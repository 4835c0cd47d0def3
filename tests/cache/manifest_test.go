package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// sessions is how many a token gets that sets no limit.
const sessions = 16

// TestManifestOfManyContainers signs a manifest of many packages with one file each: all sessions
// of the token sign at the same time, and the result is in the manifest's order.
func TestManifestOfManyContainers(t *testing.T) {
	const packages = 160
	l := newLab(t)
	l.token.Delay(t, 30*time.Millisecond)
	in, out := l.path("digests.jsonl"), l.path("signed.jsonl")
	writeText(t, in, states(t, packages, nil))
	l.statedSigned(in, out)
	n, average, most := l.token.Together(t)
	if n != packages || most != sessions || average < sessions/2 {
		t.Errorf("%d signatures, %.1f at a time, at most %d", n, average, most)
	}
	signed := lines(t, out)
	for i, before := range lines(t, in) {
		if line := signed[i]; line.Path != before.Path || !bytes.Equal(line.Digest, before.Digest) || len(line.Xattrs[ima.XattrIMA]) == 0 {
			t.Fatalf("line %d: %+v instead of %+v", i, line, before)
		}
	}
	again := l.path("again.jsonl")
	l.statedSigned(in, again, "--jobs", "1")
	if n := l.token.Calls(t); n != 0 || !bytes.Equal(read(t, again), read(t, out)) {
		t.Errorf("the token made %d signatures for the second manifest", n)
	}
}

// TestManifestErrors signs manifests with an error in some containers. The first one is reported,
// however many containers are in progress, and there is no output.
func TestManifestErrors(t *testing.T) {
	l := newLab(t)
	l.token.Delay(t, time.Millisecond)
	foreign := ima.DigestValue(ima.SHA256, make([]byte, 32))
	foreign = append([]byte{3, 2, 4, 1, 2, 3, 4, 0, 8}, foreign[:8]...)
	in, out := l.path("digests.jsonl"), l.path("signed.jsonl")
	one := states(t, 100, map[int][]byte{40: foreign})
	two := states(t, 100, map[int][]byte{40: foreign, 41: foreign, 70: foreign})
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"a foreign signature":            {one, "digests.jsonl: 40.rpm: usr/bin/40: "},
		"several foreign signatures":     {two, "digests.jsonl: 40.rpm: usr/bin/40: "},
		"a foreign signature, then cut":  {one[:len(one)-10], "digests.jsonl: 40.rpm: usr/bin/40: "},
		"an entry is cut":                {states(t, 50, nil)[:3000], "digests.jsonl: 10.rpm: line 23: "},
		"a header is malformed":          {append(states(t, 50, nil), "{\"imasign_manifest\":9}\n"...), "digests.jsonl: line 101: "},
		"nothing but a header malformed": {[]byte("{}\n"), "digests.jsonl: line 1: "},
	} {
		writeText(t, in, c.text)
		for range 2 {
			r := l.run(append([]string{"manifest", "sign", in, "-o", out}, l.key()...)...)
			if _, err := os.Lstat(out); r.Code != 1 || !strings.Contains(r.Err, c.says) || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: exit %d, %v\n%s", name, r.Code, err, r.Err)
			}
		}
	}
}

// TestManifestInterrupted interrupts the signing of a manifest while many containers wait.
func TestManifestInterrupted(t *testing.T) {
	l := newLab(t)
	l.token.Delay(t, 50*time.Millisecond)
	in, out := l.path("digests.jsonl"), l.path("signed.jsonl")
	writeText(t, in, states(t, 5000, nil))
	p := l.start(append([]string{"manifest", "sign", in, "-o", out}, l.key()...)...)
	calls := 0
	p.until(func() bool {
		calls += l.token.Calls(t)
		return calls > sessions
	})
	check(t, p.Process.Signal(syscall.SIGINT))
	<-p.ended
	if _, err := os.Lstat(out); p.ProcessState.ExitCode() != 1 || !strings.Contains(p.err.String(), "interrupted while planning: "+out+" is as it was") || err == nil {
		t.Errorf("%s, %v\n%s", p.ProcessState, err, &p.err)
	}
	if n := l.token.Calls(t); n > 10*sessions {
		t.Errorf("the token made %d signatures after the interrupt", n)
	}
}

// statedSigned signs a manifest, which warns of contents that are not known.
func (l *lab) statedSigned(in, out string, flags ...string) {
	l.Helper()
	if r := l.run(append(append([]string{"manifest", "sign", in, "-o", out}, l.key()...), flags...)...); r.Code != 0 {
		l.Fatalf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// states returns a manifest of n packages with one file each. Some files have values.
func states(t testing.TB, n int, values map[int][]byte) []byte {
	t.Helper()
	var text bytes.Buffer
	w := manifest.NewWriter(&text)
	for i := range n {
		sum := sha256.Sum256(fmt.Append(nil, i))
		check(t, w.Header(manifest.Header{Tool: "test", Container: manifest.Package, Name: fmt.Sprintf("%d.rpm", i), Hash: ima.SHA256, Entries: 1}))
		line := manifest.Line{Path: fmt.Sprintf("usr/bin/%d", i), Kind: "file", Mode: 0o755, Hash: ima.SHA256, Digest: sum[:]}
		if v := values[i]; v != nil {
			line.Xattrs, line.KeyID = map[string][]byte{ima.XattrIMA: v}, ima.KeyID(binary.BigEndian.Uint32(v[3:]))
		}
		check(t, w.Line(line))
	}
	check(t, w.Flush())
	return text.Bytes()
}

// lines returns the lines of a manifest, without the headers.
func lines(t testing.TB, path string) (all []manifest.Line) {
	t.Helper()
	r := manifest.NewReader(bytes.NewReader(read(t, path)))
	for {
		if _, err := r.Next(); err != nil {
			return all
		}
		for line, err := range r.Lines() {
			check(t, err)
			all = append(all, line)
		}
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	return text
}

func writeText(t testing.TB, path string, text []byte) {
	t.Helper()
	check(t, os.WriteFile(path, text, 0o600))
}
