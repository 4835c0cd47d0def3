package selection_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/pkg/rootfs"
)

// Select the files of a tree to sign. An Engine takes the result in place of the tree.
func Example() {
	dir, err := os.MkdirTemp("", "selection-*")
	must(err)
	defer os.RemoveAll(dir)
	must(os.WriteFile(filepath.Join(dir, "init"), nil, 0o755))
	must(os.WriteFile(filepath.Join(dir, "state"), nil, 0o644))

	rules, err := selection.Compile(selection.Options{Exclude: []string{"/state", "/cache"}})
	must(err)
	tree, err := rootfs.Open(dir, rootfs.Options{})
	must(err)
	defer tree.Close()
	for entry, err := range selection.New(tree, rules).Entries(context.Background()) {
		must(err)
		fmt.Printf("%s %q\n", entry.Path, entry.Reason)
	}
	for _, p := range rules.Unmatched() {
		fmt.Println(p.List, p.Text, "matches nothing")
	}
	// Output:
	// init ""
	// state "excluded by /state"
	// exclude /cache matches nothing
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
