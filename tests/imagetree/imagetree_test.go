package imagetree

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestDifferences changes a copy of the tree, each time in one way, and expects exactly
// this change to be found.
func TestDifferences(t *testing.T) {
	tree := New(t)
	want := List(t, tree)
	if files := len(want); files < 700 || Full() && files < 5000 {
		t.Errorf("the tree has only %d files", files)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	harness.Must(t, "cp", "-a", tree, dir)
	Same(t, want, List(t, dir))
	for _, c := range []struct {
		name  string
		paths string // that differ, in order
		do    func(path func(string) string) error
	}{
		{"mode", "sizes/100", func(path func(string) string) error { return os.Chmod(path("sizes/100"), 0o600) }},
		{"owner", "sizes/100 sizes/60", func(path func(string) string) error { return os.Lchown(path("sizes/60"), 0, 1) }},
		{"content", "large/same sizes/100 sizes/60", func(path func(string) string) error {
			f, err := os.OpenFile(path("large/same"), os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{0}, 10_000)
			}
			return err
		}},
		{"xattr", "large/same sizes/100 sizes/60 xattrs/symlink", func(path func(string) string) error {
			return unix.Lremovexattr(path("xattrs/symlink"), "trusted.empty")
		}},
		{"another inode", "large/same links/a/second links/b/first links/third sizes/100 sizes/60 xattrs/symlink zz-fourth", func(path func(string) string) error {
			return os.Remove(path("links/a/second"))
		}},
		{"new file", "large/same links/a/second links/b/first links/third sizes/100 sizes/60 xattrs/symlink zz-fourth new", func(path func(string) string) error {
			return unix.Mknod(path("new"), unix.S_IFIFO, 0)
		}},
	} {
		if err := c.do(func(name string) string { return filepath.Join(dir, name) }); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var paths []string
		for _, line := range differences(want, List(t, dir)) {
			paths = append(paths, strings.Split(line, `"`)[1])
		}
		if !slices.Equal(paths, strings.Fields(c.paths)) {
			t.Errorf("%s: %q differ, want %s", c.name, paths, c.paths)
		}
	}
}
