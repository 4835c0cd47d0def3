package tree_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/internal/tree"
)

// Walk a tree and read its files. Links are listed, but never followed.
func Example() {
	dir, err := os.MkdirTemp("", "tree-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	must(os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("box\n"), 0o644))
	must(os.Symlink("/etc/passwd", filepath.Join(dir, "etc/passwd")))

	t, err := tree.Open(dir, tree.Options{})
	must(err)
	defer t.Close()
	for node, err := range t.Walk(context.Background()) {
		must(err)
		fmt.Println(node.Mode, node.Path)
		if !node.Mode.IsRegular() {
			continue
		}
		f, err := t.Open(node.Path)
		must(err)
		now, err := tree.StampOf(f)
		must(err)
		must(node.Stamp.Check(now)) // the very file that was walked
		content, err := io.ReadAll(f)
		must(err)
		fmt.Printf("  %q\n", content)
		must(f.Close())
	}
	// Output:
	// drwxr-xr-x etc
	// -rw-r--r-- etc/hostname
	//   "box\n"
	// Lrwxrwxrwx etc/passwd
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
