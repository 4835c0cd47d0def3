package ext4

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/xattrspace"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestSpace fills the space of inodes by debugfs, to the last byte and beyond it.
func TestSpace(t *testing.T) {
	for _, c := range []struct{ image, path string }{
		{"ext4", "hello"}, {"ext4", "extents"}, {"ext4", "a/b/c/inline"}, {"ext4", "many"}, {"ext4", "link"}, {"ext4", "a/b"},
		{"ext2", "hello"}, {"ext2", "extents"}, {"meta_bg", "many"}, {"checksums", "hello"}, {"checksums", "a"},
	} {
		t.Run(c.image+" "+c.path, func(t *testing.T) {
			b := image(t, c.image)
			f := opened(t, b)
			id := filesystem.ID(find(t, f, c.path))
			before, err := f.Space(id)
			check(t, err)
			if before.Inode > 20 {
				after := setXattr(t, b, id, before.Inode, true)
				if after.Inode != 0 || after.Block != before.Block || after.Sharers != before.Sharers {
					t.Errorf("the inode is not full: %+v, then %+v", before, after)
				}
			}
			after := setXattr(t, b, id, before.Block, true)
			if after.Inode != before.Inode || after.Block != 0 || after.Sharers != 1 {
				t.Errorf("the block is not full: %+v, then %+v", before, after)
			}
			if f.features.incompat&eaInodes != 0 {
				return // a larger value goes into an inode of its own
			}
			if after := setXattr(t, b, id, before.Block+4, false); after != before {
				t.Errorf("more than there is: %+v, then %+v", before, after)
			}
		})
	}
}

// setXattr returns the space that is left after debugfs has set an xattr that takes size
// bytes, if it can.
func setXattr(t *testing.T, image []byte, id filesystem.ID, size int, can bool) Space {
	t.Helper()
	dir := t.TempDir()
	path, value := filepath.Join(dir, "image"), filepath.Join(dir, "value")
	check(t, os.WriteFile(path, image, 0o600))
	n := size - xattrspace.Value{Name: "x"}.Bytes()
	check(t, os.WriteFile(value, make([]byte, n), 0o600))
	harness.Must(t, "debugfs", "-w", "-R", fmt.Sprintf("ea_set -f %s <%d> user.x", value, id), path)
	changed, err := os.ReadFile(path)
	check(t, err)
	f := opened(t, changed)
	xattrs, err := f.Xattrs(id)
	check(t, err)
	if (xattrs["user.x"] != nil) != can || can && len(xattrs["user.x"]) != n {
		t.Errorf("debugfs has set an xattr of %d bytes, want %d", len(xattrs["user.x"]), n)
	}
	s, err := f.Space(id)
	check(t, err)
	return s
}
