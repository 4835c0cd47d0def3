package ext4

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// image returns an image in testdata.
func image(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	check(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	b, err := io.ReadAll(z)
	check(t, err)
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens an image in memory.
func open(image []byte) (*FileSystem, error) {
	return Open(bytes.NewReader(image), int64(len(image)))
}

// opened is open, which must work.
func opened(t testing.TB, image []byte) *FileSystem {
	t.Helper()
	f, err := open(image)
	check(t, err)
	return f
}

// find returns the number of the inode with a path.
func find(t testing.TB, f *FileSystem, path string) uint32 {
	t.Helper()
	for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
		check(t, err)
		if n.Path == path {
			return uint32(n.ID)
		}
	}
	t.Fatalf("there is no %s", path)
	return 0
}

// readAll reads everything in a file system, until the first error.
func readAll(t testing.TB, f *FileSystem) error {
	t.Helper()
	f.Facts()
	buf := make([]byte, 5000)
	for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{MaxContent: 64 << 20}) {
		if err != nil {
			return err
		}
		if _, err := f.Xattrs(n.ID); err != nil {
			return err
		}
		if _, err := f.Space(n.ID); err != nil {
			return err
		}
		switch {
		case n.Mode.Type() == os.ModeSymlink:
			_, err = f.Readlink(n.ID)
		case n.Mode.IsRegular():
			err = readContent(t, f, n, buf)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readContent reads a file from its beginning to its end, which must be at its size.
func readContent(t testing.TB, f *FileSystem, n filesystem.Node, buf []byte) error {
	t.Helper()
	c, err := f.Open(n.ID)
	if err != nil {
		return err
	}
	defer c.Close()
	for at := int64(0); ; {
		read, err := c.ReadAt(buf, at)
		at += int64(read)
		end := errors.Is(err, io.EOF)
		if end && at != n.Size || at > n.Size {
			t.Errorf("%q ends at %d, not at %d", n.Path, at, n.Size)
		}
		if end {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
