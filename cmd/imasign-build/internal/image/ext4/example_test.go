package ext4

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// The regular files in the root directory of an image.
func Example() {
	file, _ := os.Open("testdata/ext4.gz")
	unpacked, _ := gzip.NewReader(file)
	image, err := io.ReadAll(unpacked)
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Facts().Type, f.Facts().UUID)
	for n, err := range filesystem.Walk(context.Background(), f, filesystem.Options{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if n.Mode.IsRegular() && !strings.Contains(n.Path, "/") {
			fmt.Println(n.Mode, n.UID, n.GID, n.Size, n.Path)
		}
	}
	// Output:
	// ext4 01234567-89ab-cdef-0123-456789abcdef
	// -rw-r--r-- 0 0 16390 extents
	// urwxr-xr-x 70000 80000 6 hard-link
	// urwxr-xr-x 70000 80000 6 hello
	// -rw-r--r-- 0 0 307206 indirect
}
