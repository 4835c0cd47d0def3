package erofs

import (
	"bytes"
	"io"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// FuzzOpen reads everything in an image, whose checksum does not matter. Content must be the
// same when it is read in sequence and from its middle.
func FuzzOpen(f *testing.F) {
	for _, name := range testImages(f) {
		f.Add(testImage(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > superblockAt+8 {
			b[superblockAt+8] &^= compatChecksum
		}
		r, err := open(b)
		if err != nil {
			return
		}
		r.Facts()
		for n, err := range filesystem.Walk(t.Context(), r, filesystem.Options{MaxContent: 16 << 20}) {
			if err != nil {
				return
			}
			_, _ = r.Xattrs(n.ID) // must not panic
			_, _ = r.Readlink(n.ID)
			if n.Mode.IsRegular() {
				compareReads(t, r, n)
			}
		}
	})
}

// compareReads reads a file in sequence, and in two other ways.
func compareReads(t *testing.T, r *FileSystem, n filesystem.Node) {
	t.Helper()
	c, err := r.Open(n.ID)
	if err != nil {
		return
	}
	defer c.Close()
	all, err := io.ReadAll(io.NewSectionReader(c, 0, n.Size))
	if err != nil || len(all) == 0 {
		return
	}
	if int64(len(all)) != n.Size {
		t.Fatalf("%q: %d bytes of %d", n.Path, len(all), n.Size)
	}
	again, err := r.Open(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, at := range []int64{n.Size / 2, n.Size / 3, 0, n.Size - 1} {
		p := make([]byte, min(3000, n.Size-at))
		if m, err := again.ReadAt(p, at); m < len(p) || !bytes.Equal(p, all[at:at+int64(len(p))]) {
			t.Fatalf("%q: %d bytes at %d differ: %v", n.Path, len(p), at, err)
		}
	}
}
