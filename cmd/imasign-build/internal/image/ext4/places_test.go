package ext4_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestPlaces makes, by debugfs, what mke2fs does not: three levels of indirect blocks,
// unwritten extents, directories with holes.
func TestPlaces(t *testing.T) {
	for _, options := range []string{"-t ext2 -b 1024", "-t ext4 -b 1024"} {
		t.Run(options, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "sparse", 5, 12<<10, 300<<10, 66<<20) // the third level begins at 64.3 MiB
			write(t, dir, "unwritten", 5, 1000, 30_000)
			for _, name := range manyNames(500) {
				write(t, dir, filepath.Join("directory", name), 0)
			}
			image := mkfs(t, dir, options)
			debugfs(t, image, "punch directory 3 4")
			if options != "-t ext2 -b 1024" {
				debugfs(t, image, "fallocate unwritten 10 20")
				debugfs(t, image, "sif unwritten size 50000")
				block, _, _ := strings.Cut(strings.TrimSpace(debugfs(t, image, "bmap unwritten 11")), " ")
				at, err := strconv.ParseInt(block, 10, 64)
				if err != nil || at == 0 {
					t.Fatalf("no unwritten block: %q", block)
				}
				writeAt(t, image, at*1024, bytes.Repeat([]byte("old data"), 100))
			}
			mounted := imagetree.List(t, imagetree.Mount(t, image))
			imagetree.Same(t, mounted, imagetest.List(t, imagetest.Open(t, ext4.Open, image)))
		})
	}
}

// debugfs runs one command, and returns what it prints.
func debugfs(t *testing.T, image, command string) string {
	t.Helper()
	return harness.Must(t, "debugfs", "-w", "-R", command, image)
}

func writeAt(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// manyNames returns different names.
func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, string(bytes.Repeat([]byte{'a' + byte(i%26)}, 20+i/26)))
	}
	return names
}

// write writes some bytes at offsets of a file.
func write(t *testing.T, dir, name string, size int, at ...int64) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, offset := range at {
		if _, err := f.WriteAt(bytes.Repeat([]byte("data"), size), offset); err != nil {
			t.Fatal(err)
		}
	}
}

// counter counts the bytes that are read.
type counter struct {
	io.ReaderAt
	bytes int64
}

func (c *counter) ReadAt(p []byte, at int64) (int, error) {
	c.bytes += int64(len(p))
	return c.ReaderAt.ReadAt(p, at)
}

// TestReadsOnce reads a file with thousands of extents, or in indirect blocks, in small
// pieces: no block is read twice.
func TestReadsOnce(t *testing.T) {
	for _, options := range []string{"-t ext2 -b 1024", "-t ext4 -b 1024"} {
		t.Run(options, func(t *testing.T) {
			dir := t.TempDir()
			var at []int64
			for i := range int64(3000) {
				at = append(at, i*2048)
			}
			write(t, dir, "file", 256, at...)
			f, err := os.Open(mkfs(t, dir, options))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			counted := &counter{ReaderAt: f}
			r, err := ext4.Open(counted, 160<<20)
			if err != nil {
				t.Fatal(err)
			}
			for n, err := range filesystem.Walk(t.Context(), r, filesystem.Options{}) {
				if err != nil {
					t.Fatal(err)
				}
				counted.bytes = 0
				c, err := r.Open(n.ID)
				if err != nil {
					t.Fatal(err)
				}
				piece := struct{ io.Reader }{io.NewSectionReader(c, 0, n.Size)} // not an io.WriterTo
				if size, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, piece, make([]byte, 100)); size != n.Size || err != nil {
					t.Errorf("%d bytes of %d: %v", size, n.Size, err)
				}
				if most := int64(3000*1024 + 60*1024); counted.bytes > most {
					t.Errorf("%d bytes were read for %d", counted.bytes, n.Size)
				}
			}
		})
	}
}
