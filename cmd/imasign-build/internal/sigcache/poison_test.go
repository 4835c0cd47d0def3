package sigcache

import (
	"context"
	"path/filepath"
	"testing"
)

// TestPoison changes rows as somebody with access to the file may do. What does not fit is never
// returned, and is replaced; other signatures are returned, refused and replaced.
func TestPoison(t *testing.T) {
	key := newSigner(t)
	for name, c := range map[string]struct {
		change   string
		returned bool // Get returns what is in the row, since only verification can tell
	}{
		"another signature":       {"UPDATE signature SET signature = (SELECT signature FROM signature WHERE id = 200)", true},
		"an empty signature":      {"UPDATE signature SET signature = x''", false},
		"a huge signature":        {"UPDATE signature SET signature = zeroblob(70000) WHERE id = 1; DELETE FROM signature WHERE id > 1", false},
		"another digest":          {"UPDATE signature SET digest = randomblob(32)", false},
		"a long digest":           {"UPDATE signature SET digest = zeroblob(100000) WHERE id = 1; DELETE FROM signature WHERE id > 1", false},
		"a key that is not there": {"UPDATE signature SET key = 77", false},
		"another xattr":           {"UPDATE signature SET xattr = 1", false},
		"no xattr":                {"UPDATE signature SET xattr = -1", false},
		"another version":         {"UPDATE signature SET version = version + 256", false},
		"another hash":            {"UPDATE signature SET hash = 6", false},
		"addresses exchanged":     {"UPDATE signature SET address = address + 1", false},
		"days to come":            {"UPDATE signature SET day = 9223372036854775807", true},
		"no key":                  {"DELETE FROM key", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, signatures := filled(t, key, 200)
			execute(t, filepath.Join(dir, File), c.change)
			ctx, b := context.Background(), key.batch(0, 200)
			s, _ := open(t, dir, Options{})
			refused := s.Get(ctx, b)
			for i := range refused {
				if len(refused[i]) > 0 != c.returned {
					t.Fatalf("signature %d: %x", i, refused[i])
				}
			}
			if name != "days to come" {
				judgedByEntries(t, s, c.returned)
			}
			if kept := s.Put(ctx, b, signatures, refused); !equal(kept, signatures) {
				t.Error("Put does not replace what is wrong")
			}
			if got := s.Get(ctx, b); !equal(got, signatures) {
				t.Error("Get does not return what was stored")
			}
			wrong := func(e *Entry) bool { return e.Verify() != nil }
			if _, err := s.Remove(ctx, wrong); err != nil {
				t.Error(err)
			}
			if n, err := s.Remove(ctx, wrong); n != 0 || err != nil {
				t.Errorf("%d are still wrong, %v", n, err)
			}
			if stats, err := s.Stats(ctx); err != nil || stats.Entries != 200 || len(stats.Keys) != 1 {
				t.Errorf("%+v %v", stats, err)
			}
		})
	}
}

// judgedByEntries fails the test unless no entry verifies, and those that Get does not return
// have no signature.
func judgedByEntries(t *testing.T, s *Store, returned bool) {
	t.Helper()
	valid := 0
	for e, err := range s.Entries(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Signature) > 0 && !returned {
			t.Error("an entry that Get does not return has a signature")
		}
		if e.Verify() == nil {
			valid++
		}
	}
	if valid > 1 { // its own signature is right for one
		t.Errorf("%d entries are valid", valid)
	}
}
