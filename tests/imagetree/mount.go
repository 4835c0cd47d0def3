package imagetree

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// Mount mounts an image, read-only unless options say "rw", by a loop device, and returns
// the directory. The test unmounts it at its end.
func Mount(t testing.TB, image string, options ...string) string {
	t.Helper()
	dir := t.TempDir()
	all := append([]string{"loop", "ro"}, options...)
	harness.Must(t, "mount", "-o", strings.Join(all, ","), image, dir)
	t.Cleanup(func() { Unmount(t, dir) })
	return dir
}

// Unmount unmounts a directory now. It may be called again.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil && err != unix.EINVAL {
		t.Errorf("unmount %s: %v", dir, err)
	}
}
