package manifest_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

func signedTree(n int) container {
	c := container{header: manifest.Header{Container: "tree", Hash: ima.SHA256}}
	for i := range n {
		c.lines = append(c.lines, manifest.Line{
			Path: fmt.Sprintf("usr/lib/some/directory/file-%06d", i), Kind: "file", Size: 1 << 20, Mode: 0o644,
			Hash: ima.SHA256, Digest: digest(1), Xattrs: map[string][]byte{ima.XattrIMA: make([]byte, 265)}, KeyID: 1,
		})
	}
	return c
}

// The benchmarks' ns/op is for 1,000 entries with RSA-2048 signatures.
const benchEntries = 1000

func BenchmarkWriter(b *testing.B) {
	c := signedTree(benchEntries)
	b.ReportAllocs()
	for b.Loop() {
		check(b, write(io.Discard, c))
	}
}

func BenchmarkNewIndex(b *testing.B) {
	text := render(b, signedTree(benchEntries))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := manifest.NewIndex(bytes.NewReader(text), int64(len(text)))
		check(b, err)
	}
}
