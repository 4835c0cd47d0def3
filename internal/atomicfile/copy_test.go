package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestLinkOrCopy makes a link, and on another file system a copy with mode and mtime.
func TestLinkOrCopy(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := filepath.Join(t.TempDir(), "from")
	check(t, os.WriteFile(path, []byte("text"), 0o600))
	old := time.Unix(1_000_000_000, 0)
	check(t, os.Chtimes(path, old, old))
	to := filepath.Join(dir, "to")
	check(t, atomicfile.LinkOrCopy(path, to))
	content(t, to, "text")
	if info := stat(t, to); info.Mode() != 0o600 || !info.ModTime().Equal(old) {
		t.Errorf("%v", info)
	}
	if err := atomicfile.LinkOrCopy(path, to); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	near := path + "2"
	check(t, atomicfile.LinkOrCopy(path, near))
	if a, b := stat(t, path), stat(t, near); !os.SameFile(a, b) {
		t.Error("copied although a link is possible")
	}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	return info
}
