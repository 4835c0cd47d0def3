package repo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/signing"
)

// TestPrune removes metadata, and what the repository lacks or has as another kind of file.
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
	s, err := takeSurvey(t.Context(), from)
	check(t, err)
	check(t, prune(s, to))
	var left []string
	for name := range snapshot(t, to) {
		left = append(left, name)
	}
	if slices.Sort(left); !slices.Equal(left, []string{".", "kept", "kept/file"}) {
		t.Errorf("%q", left)
	}
}

// TestLock checks that a locked directory that was renamed is not written to.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "partial")
	check(t, os.Mkdir(dir, 0o755))
	r := &task{}
	unlock, err := r.lock(dir, unix.LOCK_EX)
	check(t, err)
	if _, err := r.lock(dir, unix.LOCK_SH); !errors.Is(err, ErrBusy) {
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

// TestRemnant checks that a run waits for a program that an interrupted run left running.
func TestRemnant(t *testing.T) {
	dir, out := repository(t)
	work := filepath.Join(out+".partial", workDir)
	check(t, os.MkdirAll(work, 0o755))
	log, err := os.Create(filepath.Join(work, "log"))
	check(t, err)
	check(t, unix.Flock(int(log.Fd()), unix.LOCK_EX))
	s, err := signer()
	check(t, err)
	done := false
	_, err = sign(t.Context(), s, Options{Dir: dir, Output: out, Observe: signing.NewObserver(func(e signing.Event) {
		if strings.Contains(e.Message, "waiting") {
			done = true
			check(t, log.Close())
		}
	})}, func(result) error {
		if !done {
			t.Error("it did not wait")
		}
		return nil
	})
	check(t, err)
	signed(t, out)
}
