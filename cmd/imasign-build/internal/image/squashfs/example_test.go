package squashfs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/squashfs"
)

// List the files of an image.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "image")
	must(exec.Command("mksquashfs", dir, path, "-comp", "zstd", "-quiet", "-p", "bin d 755 0 0", "-p", "bin/hello f 755 0 0 echo hello").Run())

	image, err := os.Open(path)
	must(err)
	defer image.Close()
	info, err := image.Stat()
	must(err)
	f, err := squashfs.Open(image, info.Size())
	must(err)
	fmt.Println(f.Facts().Features)
	for n, err := range filesystem.Walk(context.Background(), f, filesystem.Options{}) {
		must(err)
		fmt.Println(n.Mode, n.UID, n.GID, n.Size, n.Path)
	}
	// Output:
	// [exports zstd]
	// drwxr-xr-x 0 0 0 bin
	// -rwxr-xr-x 0 0 6 bin/hello
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
