package tree

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContentBeyondItsSize refuses files that state no size, as in /proc, because a change of
// their content would not be noticed.
func TestContentBeyondItsSize(t *testing.T) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := StampOf(f)
	if err != nil {
		t.Fatal(err)
	}
	c := Content{f: f, stamp: stamp}
	defer c.Close()
	var b [64]byte
	if _, err := c.Read(b[:]); err == nil || !strings.Contains(err.Error(), "its size states") {
		t.Errorf("got %v", err)
	}
}

// TestOpenContentOfAnotherFile checks that OpenContent returns an error for a file that has
// changed since the walk.
func TestOpenContentOfAnotherFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	tr, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for node, err := range tr.Walk(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := tr.OpenContent(node.Path, node.Stamp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := os.WriteFile(path, []byte("other"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.OpenContent(node.Path, node.Stamp); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v", err)
		}
	}
}
