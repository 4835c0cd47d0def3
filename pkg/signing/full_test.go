package signing_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// fullDirectory is a file system of its own, of two MB. It needs root.
func fullDirectory(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("none", dir, "tmpfs", 0, "size=2m"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	return dir
}
