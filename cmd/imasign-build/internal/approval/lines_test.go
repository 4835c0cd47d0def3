package approval

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/tests/harness"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func line(path string, n int) manifest.Line {
	sum := sha256.Sum256(fmt.Append(nil, n))
	return manifest.Line{Path: path, Kind: "file", Size: int64(n), Mode: 0o644, Hash: ima.SHA256, Digest: sum[:]}
}

// TestTap compares the lines that a tap finds with those in the text, however it is read.
func TestTap(t *testing.T) {
	text := []byte("one\n\nthree and more\n" + string(bytes.Repeat([]byte("x"), 100_000)) + "\nend without newline")
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(text), "bytes": iotest.OneByteReader(bytes.NewReader(text)), "halves": iotest.HalfReader(bytes.NewReader(text))} {
		in := newTap(r)
		got, err := io.ReadAll(in)
		check(t, err)
		var offset int64
		for _, want := range bytes.SplitAfter(text, []byte("\n"))[:4] {
			at := in.next()
			if at.offset != offset || at.length != int64(len(want)) || at.sum != sha256.Sum256(want) {
				t.Errorf("%s: %d bytes at %d, want %d at %d", name, at.length, at.offset, len(want), offset)
			}
			offset += at.length
		}
		if !bytes.Equal(got, text) || len(in.ended) > 0 || in.next() != (lineAt{}) {
			t.Errorf("%s: more lines, or another text", name)
		}
	}
}

func write(t testing.TB, path string, h manifest.Header, lines ...manifest.Line) [sha256.Size]byte {
	t.Helper()
	var out bytes.Buffer
	w := manifest.NewWriter(&out)
	for range 2 { // containers
		h.Entries = int64(len(lines))
		check(t, w.Header(h))
		for _, l := range lines {
			check(t, w.Line(l))
		}
	}
	check(t, w.Flush())
	check(t, os.WriteFile(path, out.Bytes(), 0o644))
	return sha256.Sum256(out.Bytes())
}

func going() error { return nil }

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	skipped := line("c", 3)
	skipped.Unsigned = "not selected"
	sum := write(t, path, manifest.Header{Container: manifest.Archive}, line("a", 1), line("a", 11), line("b", 2), skipped)
	m, err := load(path, sum, map[need]bool{{over: ima.Metadata}: true}, going)
	check(t, err)
	for path, want := range map[string][]int{"a": {1, 1, 11, 11}, "b": {2, 2}, "c": nil, "d": nil, "": nil} {
		found, err := m.Lines(path)
		check(t, err)
		var got []int
		for _, l := range found {
			if l.Path != path || !bytes.Equal(l.Digest, line(path, int(l.Size)).Digest) {
				t.Errorf("%s: got %+v", path, l)
			}
			got = append(got, int(l.Size))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: lines %v, want %v", path, got, want)
		}
	}
	text, err := os.ReadFile(path)
	check(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	check(t, err)
	_, err = f.Write(bytes.ReplaceAll(text, []byte(`"uid":0`), []byte(`"uid":1`))) // in place
	check(t, errors.Join(err, f.Close()))
	if _, err := m.Lines("b"); !errors.Is(err, errChanged) {
		t.Errorf("after a change: %v", err)
	}
	check(t, os.Truncate(path, 10))
	if _, err := m.Lines("b"); err == nil {
		t.Error("after it was cut: no error")
	}
	if lines, err := (&Manifest{}).Lines("b"); lines != nil || err != nil {
		t.Errorf("metadata that nobody approved: %v, %v", lines, err)
	}
}

func TestMetadataThatIsNotApproved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	odd := line("a", 1)
	odd.UID = noID
	for name, sum := range map[string]func() [sha256.Size]byte{
		"owner": func() [sha256.Size]byte { return write(t, path, manifest.Header{Container: manifest.Tree}, odd) },
		"package": func() [sha256.Size]byte {
			return write(t, path, manifest.Header{Container: manifest.Package}, line("a", 1))
		},
	} {
		if _, err := load(path, sum(), map[need]bool{{over: ima.Metadata}: true}, going); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		if m, err := load(path, sum(), map[need]bool{{ima.Content, ima.SHA256}: true}, going); err != nil || !m.Has(Kind{ima.ContentSignature(), ima.SHA256}, odd.Digest) {
			t.Errorf("%s: the content: %v", name, err)
		}
	}
	stopped := errors.New("stopped")
	sum := write(t, path, manifest.Header{Container: manifest.Tree}, line("a", 1))
	if _, err := load(path, sum, nil, func() error { return stopped }); !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
}

func TestDigests(t *testing.T) {
	d := digests{size: 3, key: 2}
	var all []string
	for range 2000 {
		record := make([]byte, 3)
		rand.Read(record)
		record[0], record[1] = record[0]%16, record[1]%16
		d.data = append(d.data, record...)
		all = append(all, string(record))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	d.sort()
	if want := []byte(join(all)); !bytes.Equal(d.data, want) {
		t.Fatal("not the records in their order, each once")
	}
	for a := range 17 {
		for b := range 17 {
			key := []byte{byte(a), byte(b)}
			want := join(slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r[:2] != string(key) }))
			if got := d.find(key); string(got) != want {
				t.Errorf("%v: %v, want %v", key, got, []byte(want))
			}
		}
	}
	empty := digests{size: 32, key: 32}
	if empty.sort(); len(empty.find(make([]byte, 32))) > 0 {
		t.Error("an empty set has a digest")
	}
}

func join(list []string) string { return string(bytes.Join(slicesOf(list), nil)) }

func slicesOf(list []string) (all [][]byte) {
	for _, s := range list {
		all = append(all, []byte(s))
	}
	return all
}

// TestMemory measures what a manifest takes: at night, with a million digests.
func TestMemory(t *testing.T) {
	n, limit := 20_000, uint64(48<<20/50)
	if harness.Nightly() {
		n, limit = 1_000_000, 48<<20
	}
	half := n / 2
	path := filepath.Join(t.TempDir(), "m")
	out, err := os.Create(path)
	check(t, err)
	hash := sha256.New()
	w := manifest.NewWriter(io.MultiWriter(out, hash))
	for c := range 2 {
		check(t, w.Header(manifest.Header{Container: manifest.Archive, Entries: int64(half)}))
		for i := range half {
			check(t, w.Line(line(fmt.Sprintf("usr/share/some/directory/%09d", i), c*half+i)))
		}
	}
	check(t, errors.Join(w.Flush(), out.Close()))
	before := inUse()
	m, err := load(path, [sha256.Size]byte(hash.Sum(nil)), map[need]bool{{ima.Content, ima.SHA256}: true}, going)
	check(t, err)
	if used := inUse() - before; used > limit {
		t.Errorf("%d digests take %d bytes", n, used)
	} else {
		t.Logf("%d digests take %d bytes", n, used)
	}
	for i := 0; i < n; i += 997 {
		if !m.Has(Kind{ima.ContentSignature(), ima.SHA256}, line("", i).Digest) {
			t.Fatalf("digest %d is not there", i)
		}
	}
	runtime.KeepAlive(m)
}

func inUse() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
