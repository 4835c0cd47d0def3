package repo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPrune removes what the repository does not have, has as something else, and
// metadata.
func TestPrune(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"kept/file", "gone/file", "turned/file", "repodata/repomd.xml", ".repodata/x"} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755))
		write(t, filepath.Join(to, name), "x")
	}
	write(t, filepath.Join(to, "link"), "x")
	check(t, os.MkdirAll(filepath.Join(from, "kept"), 0o755))
	check(t, os.MkdirAll(filepath.Join(from, "repodata"), 0o755))
	for _, name := range []string{"kept/file", "turned", "repodata/repomd.xml"} {
		write(t, filepath.Join(from, name), "y")
	}
	check(t, os.Symlink("kept", filepath.Join(from, "link")))
	check(t, prune(from, to))
	var left []string
	for name := range snapshot(t, to) {
		left = append(left, name)
	}
	if slices.Sort(left); !slices.Equal(left, []string{".", "kept", "kept/file"}) {
		t.Errorf("%q", left)
	}
}

// TestLock: a directory that was locked, but is somewhere else by then, is no place
// to write to.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "partial")
	check(t, os.Mkdir(dir, 0o755))
	unlock, err := lock(dir)
	check(t, err)
	if _, err := lock(dir); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	unlock()
	d, err := os.Open(dir)
	check(t, err)
	defer d.Close()
	if !isAt(d, dir) {
		t.Error("not where it is")
	}
	check(t, os.Rename(dir, dir+".new"))
	if isAt(d, dir) {
		t.Error("where nothing is")
	}
	check(t, os.Mkdir(dir, 0o755))
	if isAt(d, dir) {
		t.Error("where something else is")
	}
}
