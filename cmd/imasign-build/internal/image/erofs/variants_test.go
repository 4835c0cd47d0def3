package erofs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// variant is a file system that mkfs.erofs 1.5 makes. Those of newer versions are in
// testdata.
type variant struct {
	name    string
	options string
	always  bool // not only at night
}

var variants = []variant{
	{"uncompressed", "", true},
	{"LZ4", "-zlz4", true},
	// lz4hc takes minutes for the large hole, and does not end with clusters of 1 MiB.
	{"LZ4 in big clusters", "-zlz4 -C65536", false},
	{"large clusters", "-zlz4 -C262144", false},
	{"tails behind the indexes", "-zlz4 -Eztailpacking", false},
	{"legacy indexes", "-zlz4 -Elegacy-compress", false},
	{"legacy indexes and big clusters", "-zlz4 -Elegacy-compress -C65536", false},
	{"small extents", "-zlz4 --max-extent-bytes=8192", false},
	{"chunks", "--chunksize=4096", true},
	{"chunks with indexes", "--chunksize=65536 -Eforce-chunk-indexes", false},
	{"extended inodes", "-Eforce-inode-extended", false},
	{"all xattrs are shared", "-x1", false},
	{"no shared xattrs", "-x65535", false},
	{"no checksum", "-zlz4 -Enosbcrc", false},
}

// TestAgainstTreeAndKernel compares what the reader finds in an image of each variant with
// the tree in it, and with what the kernel finds.
func TestAgainstTreeAndKernel(t *testing.T) {
	dir := imagetree.New(t, imagetree.LongestNames)
	tree := imagetree.List(t, dir)
	for _, v := range variants {
		if !v.always && !imagetree.Full() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			image := mkfs(t, dir, v.options)
			defer os.Remove(image)
			imagetest.Compare(t, Open, image, tree)
		})
	}
}

// mkfs makes an image from a directory.
func mkfs(t testing.TB, dir, options string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	harness.Must(t, "mkfs.erofs", append(append([]string{"--quiet"}, strings.Fields(options)...), image, dir)...)
	return image
}

// TestMutations damages images of mkfs.erofs 1.5, and those in testdata.
func TestMutations(t *testing.T) {
	dir := imagetree.Tiny(t, imagetree.LongestNames)
	for _, v := range variants {
		if v.always || imagetree.Full() {
			t.Run(v.name, func(t *testing.T) { imagetest.Mutate(t, Open, mkfs(t, dir, v.options+" -Enosbcrc")) })
		}
	}
	for _, name := range testImages(t) {
		if name == "48bit" || name != "all-fragments" && !imagetree.Full() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b := testImage(t, name)
			b[superblockAt+8] &^= compatChecksum
			path := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			imagetest.Mutate(t, Open, path)
		})
	}
}
