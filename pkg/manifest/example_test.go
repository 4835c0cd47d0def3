package manifest_test

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Write a manifest of one unsigned file.
func Example() {
	w := manifest.NewWriter(os.Stdout)
	err := errors.Join(
		w.Header(manifest.Header{Tool: "example", Container: manifest.Tree, Hash: ima.SHA256, Entries: 1}),
		w.Line(manifest.Line{Path: "etc/motd", Kind: "file", Size: 6, Mode: 0o644, Hash: ima.SHA256, Digest: make([]byte, 32)}),
		w.Flush(),
	)
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"imasign_manifest":1,"tool":"example","container":"tree","hash":"sha256","entries":1}
	// {"path":"etc/motd","kind":"file","size":6,"mode":"0644","uid":0,"gid":0,"hash":"sha256","digest":"0000000000000000000000000000000000000000000000000000000000000000"}
}

// Find one package in a manifest of several.
func ExampleCatalog() {
	file := strings.NewReader(`{"imasign_manifest":1,"tool":"example","container":"rpm","name":"bash.rpm","entries":1}
{"path":"usr/bin/bash","kind":"file","size":1265648,"mode":"0755","uid":0,"gid":0}
{"imasign_manifest":1,"tool":"example","container":"rpm","name":"filesystem.rpm","entries":0}
`)
	catalog, err := manifest.NewCatalog(file, file.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	index, err := catalog.Index("bash.rpm")
	if err != nil {
		fmt.Println(err)
		return
	}
	line, found, err := index.Find("usr/bin/bash", 0)
	fmt.Println(len(catalog.Headers()), found, line.Size, err)
	_, err = catalog.Index("zsh.rpm")
	fmt.Println(err)
	// Output:
	// 2 true 1265648 <nil>
	// "zsh.rpm": not in the manifest
}
