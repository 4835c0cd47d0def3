package rpmfiles_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
)

// Find the packages of a deploy directory and where their signed copies go.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"noarch/a.rpm", "noarch/a.txt", "x86_64/b.rpm"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			panic(err)
		}
	}

	units, err := rpmfiles.Find([]string{dir}, "signed")
	for _, u := range units {
		fmt.Println(filepath.Base(u.Path), "to", u.Output)
	}
	fmt.Println(err)
	// Output:
	// a.rpm to signed/noarch/a.rpm
	// b.rpm to signed/x86_64/b.rpm
	// <nil>
}
