package signing_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// smallFileSystem mounts a file system of 2 MB. It needs root.
func smallFileSystem(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("none", dir, "tmpfs", 0, "size=2m"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	return dir
}
