package atomicfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/internal/atomicfile"
)

// Write a report that readers see complete or not at all.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "report")

	f, err := atomicfile.Create(path, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Abort() // does nothing after Commit
	fmt.Fprintln(f, "42 files signed")
	if err := f.Commit(); err != nil {
		panic(err)
	}

	text, err := os.ReadFile(path)
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// 42 files signed
	// <nil>
}
