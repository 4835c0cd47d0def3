package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
)

// TestWarningsAreSummedUp checks that a warning about many files is printed for the first
// few, and then counted.
func TestWarningsAreSummedUp(t *testing.T) {
	for _, c := range []struct {
		verbose bool
		want    int // lines
	}{{false, 3 + 1 + 2}, {true, 300 + 2}} {
		var said bytes.Buffer
		a := newTestApp(nil)
		a.err, a.progressFormat, a.verbose = &said, "none", c.verbose
		p := a.newProgress()
		for range 300 {
			p.observer.Warn("dir/file", "is a socket")
		}
		p.observer.Warn("other", "is something else")
		p.observer.Tell(signing.Event{Kind: signing.Warning, Message: "about the whole run"})
		p.close()
		a.endWarnings()
		if n := strings.Count(said.String(), "\n"); n != c.want {
			t.Errorf("verbose %v: %d lines, want %d:\n%.500s", c.verbose, n, c.want, said.String())
		}
		if more := "297 more of the same kind (-v prints all): is a socket\n"; strings.Contains(said.String(), more) == c.verbose {
			t.Errorf("verbose %v:\n%.500s", c.verbose, said.String())
		}
	}
}
