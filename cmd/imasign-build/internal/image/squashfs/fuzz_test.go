package squashfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// FuzzOpen reads all of an image that may be broken. It must not panic, and read the same
// content in small pieces and in large ones.
func FuzzOpen(f *testing.F) {
	for _, options := range []string{
		"-comp gzip", "-comp xz -Xbcj x86,arm", "-comp zstd -no-fragments", "-comp lz4 -always-use-fragments", "-comp lzma", "-noI -noD -noF -noX", "-noI -comp zstd",
	} {
		f.Add(mksquashfs(f, smallTree(f), options+" -b 4k -nopad -all-time 0 -mkfs-time 0"))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		fileSystem, err := Open(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			expected(t, err)
			return
		}
		fileSystem.Facts()
		names := 0
		for n, err := range filesystem.Walk(t.Context(), fileSystem, filesystem.Options{MaxContent: 4 << 20}) {
			if err == nil {
				err = readNode(t, fileSystem, n)
			}
			if expected(t, err); err != nil {
				return
			}
			if names++; names > 1000 {
				return
			}
		}
	})
}

// smallTree makes a tree with one of each kind.
func smallTree(tb testing.TB) string {
	root := tb.TempDir()
	put(tb, filepath.Join(root, "file"), string(bytes.Repeat([]byte("0123456789"), 1000)))
	put(tb, filepath.Join(root, "d", "small"), "small")
	put(tb, filepath.Join(root, "d", "hole"), string(make([]byte, 10000))+"x")
	must(tb, os.Symlink("file", filepath.Join(root, "link")))
	set(tb, filepath.Join(root, "file"), "user.one", bytes.Repeat([]byte("v"), 100))
	set(tb, filepath.Join(root, "d", "small"), "user.one", bytes.Repeat([]byte("v"), 100))
	return root
}

func readNode(t *testing.T, f *FileSystem, n filesystem.Node) error {
	attributes, err := f.Xattrs(n.ID)
	if err != nil {
		return err
	}
	for name, value := range attributes {
		if len(value) > maxValue || len(name) > maxNames {
			t.Errorf("xattr %q: %d bytes", name, len(value))
		}
	}
	if n.Mode&fs.ModeSymlink != 0 {
		_, err = f.Readlink(n.ID)
	}
	if err != nil || !n.Mode.IsRegular() {
		return err
	}
	c, err := f.Open(n.ID)
	if err != nil {
		return err
	}
	defer c.Close()
	whole := make([]byte, n.Size)
	_, errWhole := c.ReadAt(whole, 0)
	pieces, errPieces := io.ReadAll(io.NewSectionReader(c, 0, n.Size))
	if (errWhole == nil) != (errPieces == nil) || errWhole == nil && !bytes.Equal(whole, pieces) {
		t.Errorf("%q: at once: %v, in pieces: %v", n.Path, errWhole, errPieces)
	}
	return errWhole
}

// expected fails the test if an error is none of those that a Reader returns.
func expected(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, filesystem.ErrCorrupt) && !errors.Is(err, filesystem.ErrUnsupported) && !errors.Is(err, filesystem.ErrLimit) {
		t.Errorf("%v", err)
	}
}
