package mirror_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	s := share(t, filepath.Join(t.TempDir(), "shared"), many)
	for _, name := range []string{s.dir, "file:" + s.dir, "file://" + s.dir, "file://localhost" + s.dir, "FILE:" + s.dir} {
		m, w := open(t, name, "")
		if n := s.hits(t, m); n != many {
			t.Errorf("%s: %d hits", name, n)
		}
		w.Check(t)
	}
}

// TestWhatIsNotThere asks for other keys, forms and digests.
func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	other := share(t, t.TempDir(), 1)
	m, w := open(t, s.dir, "")
	for name, b := range map[string]*shared{
		"key":    {batch: other.batch},
		"form":   {batch: s.batch},
		"digest": {batch: s.batch},
	} {
		batch := b.batch
		batch.Digests = s.batch.Digests
		switch name {
		case "form":
			batch.Form = ima.PortableSignature()
		case "digest":
			batch.Digests = [][]byte{make([]byte, 32), nil, make([]byte, 200)}
		}
		for i, signature := range m.Get(context.Background(), batch) {
			if signature != nil {
				t.Errorf("another %s: digest %d: %x", name, i, signature)
			}
		}
	}
	w.Check(t)
}

// line returns the line of the index, and the path, of the shard with the first signature.
func (s *shared) line(t testing.TB) (shards.Shard, string) {
	t.Helper()
	d, err := shards.Open(s.dir)
	check(t, err)
	defer d.Close()
	x, err := d.Index()
	check(t, err)
	return x[0], filepath.Join(s.dir, x[0].Name())
}

func TestWrongDirectories(t *testing.T) {
	t.Parallel()
	index := func(s *shared) string { return filepath.Join(s.dir, shards.IndexName) }
	for name, c := range map[string]struct {
		change func(t *testing.T, s *shared)
		hits   bool // of the shards that are not damaged
		want   string
	}{
		"no directory": {func(t *testing.T, s *shared) { check(t, os.RemoveAll(s.dir)) }, false, "open the directory: no such file"},
		"no index":     {func(t *testing.T, s *shared) { check(t, os.Remove(index(s))) }, false, "read ima-signatures.index: no such file"},
		"index is a FIFO": {func(t *testing.T, s *shared) {
			check(t, os.Remove(index(s)))
			check(t, syscall.Mkfifo(index(s), 0o644))
		}, false, "not a regular file"},
		"index is a directory": {func(t *testing.T, s *shared) {
			check(t, os.Remove(index(s)))
			check(t, os.Mkdir(index(s), 0o755))
		}, false, "not a regular file"},
		"index leads out": {func(t *testing.T, s *shared) {
			out := filepath.Join(t.TempDir(), "index")
			check(t, os.Rename(index(s), out))
			check(t, os.Symlink(out, index(s)))
		}, false, "escapes"},
		"index is garbage": {func(t *testing.T, s *shared) { check(t, os.WriteFile(index(s), []byte("\x00\x1b[31m"), 0o644)) }, false, "damaged: not an index"},
		"index is endless": {func(t *testing.T, s *shared) { check(t, os.Truncate(index(s), 1<<40)) }, false, "damaged: larger than"},
		"index is newer": {func(t *testing.T, s *shared) {
			check(t, os.WriteFile(index(s), []byte("imasign-signatures 2 0\n"), 0o644))
		}, false, "written by a newer version of this program"},
		"no shard": {func(t *testing.T, s *shared) {
			_, path := s.line(t)
			check(t, os.Remove(path))
		}, true, "no such file"},
		"shard is a FIFO": {func(t *testing.T, s *shared) {
			_, path := s.line(t)
			check(t, os.Remove(path))
			check(t, syscall.Mkfifo(path, 0o644))
		}, true, "not a regular file"},
		"shard leads out": {func(t *testing.T, s *shared) {
			_, path := s.line(t)
			out := filepath.Join(t.TempDir(), "shard")
			check(t, os.Rename(path, out))
			check(t, os.Symlink(out, path))
		}, true, "escapes"},
		"shard is truncated": {func(t *testing.T, s *shared) {
			line, path := s.line(t)
			check(t, os.Truncate(path, line.Size-1))
		}, true, "damaged"},
		"shard is zeros": {func(t *testing.T, s *shared) {
			line, path := s.line(t)
			check(t, os.WriteFile(path, make([]byte, line.Size), 0o644))
		}, true, "damaged: not a shard"},
		"shard has wrong offsets": {func(t *testing.T, s *shared) {
			line, path := s.line(t)
			content, err := os.ReadFile(path)
			check(t, err)
			table := 32 + int(content[26])<<8 + int(content[27])
			for i := range int(line.Entries) {
				copy(content[table+36*i+32:], "\xff\xff\xff\xf0")
			}
			check(t, os.WriteFile(path, content, 0o644))
		}, true, "damaged: a record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := share(t, filepath.Join(t.TempDir(), "shared"), many)
			line, _ := s.line(t)
			c.change(t, s)
			m, w := open(t, s.dir, "")
			want := 0
			if c.hits {
				want = many - int(line.Entries)
			}
			for range 2 {
				if n := s.hits(t, m); n != want {
					t.Errorf("%d hits, not %d", n, want)
				}
			}
			if text := w.Check(t, "cache mirror "+s.dir+": ", c.want); strings.Contains(text, "\x1b") {
				t.Errorf("the warning has text of the file: %q", text)
			}
			for _, err := range m.Entries(context.Background()) {
				if err != nil {
					return
				}
			}
			t.Error("Entries has no error")
		})
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), 1000)
	m, w := open(t, s.dir, "")
	var n int
	for e, err := range m.Entries(context.Background()) {
		check(t, err)
		check(t, e.Verify())
		n++
	}
	if n != 1000 {
		t.Errorf("%d entries", n)
	}
	for range m.Entries(context.Background()) {
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range m.Entries(ctx) {
		if err == nil {
			t.Fatal("goes on after the end of the context")
		}
	}
	w.Check(t)
}

// TestNewExport has another process replace the index, and remove all shards that the mirror
// has not opened yet.
func TestNewExport(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	m, w := open(t, s.dir, "")
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

// replace exports other signatures of the same digests, except for those in the shard of the
// first, and removes the old shards at once.
func (s *shared) replace(t testing.TB) {
	t.Helper()
	s.sign(t, 0)
	d, err := shards.Open(s.dir)
	check(t, err)
	defer d.Close()
	x, err := d.Index()
	check(t, err)
	_, err = shards.Prune(s.dir, x, 0)
	check(t, err)
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"https://u:secret@host/a/b": "https://host/a/b",
		"HTTP://host:8080":          "http://host:8080",
		"/srv/shared":               "/srv/shared",
		"relative:odd":              "relative:odd",
		"./u:x@host":                "./u:x@host",
		"odd@a:b":                   "odd@a:b",
	} {
		m, err := mirror.New(name, mirror.Options{})
		if err != nil || m.String() != want {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	for _, name := range []string{"", "ftp://host/", "https:", "https:/path", "https://", "file:relative", "file://other/path", "https://u:secret@host/?x=secret", "http://u:secret@host/#secret", "https://u:se%zzcret@host/", "https://u:sec/ret:x@host/", "https://[u:secret@host", "u:secret@host/a", "u:secret@host"} {
		m, err := mirror.New(name, mirror.Options{})
		if err == nil {
			t.Errorf("%q: %v", name, m)
			continue
		}
		for _, secret := range []string{"secret@", "zzcret", "sec/", ":secret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}
