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

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name  string
		tree  string
		least int
	}{{"New", New(t), map[bool]int{false: 700, true: 5000}[Full()]}, {"Tiny", Tiny(t), 200}} {
		if files := len(List(t, c.tree)); files < c.least {
			t.Errorf("%s made only %d files", c.name, files)
		}
	}
}

// TestDifferences changes a copy of the tree, each time in one way, and expects exactly
// this change to be found.
func TestDifferences(t *testing.T) {
	tree := Tiny(t)
	want := List(t, tree)
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
