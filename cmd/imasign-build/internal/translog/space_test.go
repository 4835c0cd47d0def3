package translog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// tinyDisk mounts a file system of some MiB.
func tinyDisk(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestFull fills a disk: what was reserved before can be appended, nothing else can be reserved.
func TestFull(t *testing.T) {
	disk := tinyDisk(t)
	dir := filepath.Join(disk, "log")
	key, verifier := testKey(t)
	must(t, Create(dir, key))
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	record, details := recordOf(t, 4, 4)
	const promised = 5
	var releases []func()
	for range promised {
		release, err := l.Reserve(int64(len(record) + len(details)))
		must(t, err)
		releases = append(releases, release)
	}
	fill := filepath.Join(disk, "fill")
	if err := os.WriteFile(fill, make([]byte, 9<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if _, err := l.Reserve(3 << 20); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("reserved on a full disk: %v", err)
	}
	for _, release := range releases {
		proof, err := l.Append(t.Context(), record, details)
		must(t, err)
		checkProof(t, proof, 4, verifier)
		release()
	}
	appended := promised
	for ; appended < 10000; appended++ {
		if _, err = l.Append(t.Context(), record, details); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("record %d on a full disk: %v", appended, err)
	}
	must(t, os.Remove(fill))
	grow(t, l, 0, 1)
	must(t, l.Close())
	l, err = Open(t.Context(), dir, key, Options{})
	must(t, err)
	if l.Size() != int64(appended)+1 {
		t.Errorf("%d records, %d were acknowledged", l.Size(), appended+1)
	}
	must(t, l.Close())
}

// TestFailed goes on after the journal cannot be written: with refusals only.
func TestFailed(t *testing.T) {
	dir, key := filled(t, 3)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	readOnly, err := os.Open(filepath.Join(dir, journalName))
	must(t, err)
	old := l.journal
	defer old.Close()
	l.journal = readOnly
	record, details := recordOf(t, 3, 3)
	for range 2 {
		if _, err := l.Append(t.Context(), record, details); !errors.Is(err, ErrFailed) {
			t.Errorf("appended: %v", err)
		}
		if _, err := l.Reserve(10); !errors.Is(err, ErrFailed) {
			t.Errorf("reserved: %v", err)
		}
	}
	must(t, l.Close())
	must(t, old.Close())
	l, err = Open(t.Context(), dir, key, Options{})
	must(t, err)
	if l.Size() != 3 {
		t.Errorf("%d records", l.Size())
	}
	must(t, l.Close())
}
