package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// LargeXattrs returns an empty directory on an ext4 file system whose files can have xattrs
// of 65,536 bytes each.
func LargeXattrs(t testing.TB) string {
	t.Helper()
	Root(t)
	dir := t.TempDir()
	image, mounted := filepath.Join(dir, "image"), filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	Must(t, "mkfs.ext4", "-q", "-b", "4096", "-O", "ea_inode", "-E", "root_owner=0:0", image, "48M")
	Must(t, "mount", "-o", "loop", image, mounted)
	t.Cleanup(func() { Must(t, "umount", mounted) })
	Must(t, "rmdir", filepath.Join(mounted, "lost+found"))
	return mounted
}
