package ext4_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestIndexes reads directories that the kernel indexed, with all its hashes.
func TestIndexes(t *testing.T) {
	for _, features := range []string{"metadata_csum", "^metadata_csum"} {
		for _, hash := range []string{"half_md4", "tea", "legacy", "unsigned"} {
			if hash == "unsigned" && features == "metadata_csum" {
				continue // the flag changes the checksum
			}
			t.Run(features+" "+hash, func(t *testing.T) {
				image := filepath.Join(t.TempDir(), "image")
				harness.Must(t, "mke2fs", "-q", "-t", "ext4", "-b", "1024", "-N", "4000", "-O", features+",^has_journal", image, "8M")
				if hash == "unsigned" {
					writeAt(t, image, 1024+0x160, []byte{2})
				} else {
					harness.Must(t, "tune2fs", "-E", "hash_alg="+hash, image)
				}
				fillByKernel(t, image)
				if out := harness.Must(t, "debugfs", "-R", "htree /", image); !strings.Contains(out, "Indirect levels: 1") {
					t.Errorf("the index has no second level:\n%.500s", out)
				}
				mounted := imagetree.List(t, imagetree.Mount(t, image))
				imagetree.Same(t, mounted, imagetest.List(t, imagetest.Open(t, ext4.Open, image)))
			})
		}
	}
}

// fillByKernel makes files with long names in the root of an image, and removes some.
func fillByKernel(t *testing.T, image string) {
	t.Helper()
	root := imagetree.Mount(t, image, "rw")
	name := func(i int) string {
		return filepath.Join(root, fmt.Sprintf("%d-\xe9%s", i, strings.Repeat("\u00e9", i%80)))
	}
	for i := range 3000 {
		if err := os.WriteFile(name(i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if err := os.Remove(name(i * 7)); err != nil {
			t.Fatal(err)
		}
	}
	imagetree.Unmount(t, root)
}

// TestIndexMisleads changes an index, or names. A search through all blocks finds them, but
// that is not what the kernel does.
func TestIndexMisleads(t *testing.T) {
	dir := t.TempDir()
	for _, name := range manyNames(200) {
		write(t, dir, filepath.Join("directory", name), 0)
	}
	image := mkfs(t, dir, "-t ext4 -b 1024 -O ^metadata_csum -E hash_seed=01000000-0200-0000-0300-000004000080")
	harness.Must(t, "sh", "-c", "e2fsck -fyD \"$0\" >/dev/null || test $? = 1", image)
	good, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	root := bytes.Index(good, []byte("\x01\x08\x00\x00\x7c\x00")) // half_md4, 8 bytes, 124 entries
	name := bytes.Index(good, []byte("zzzzzzzzzzzzzzzzzzzz"))
	if root < 0 || name < 0 {
		t.Fatal("the directory has no index")
	}
	for what, c := range map[string]struct {
		at   int
		new  string
		text string
	}{
		"nothing": {0, "", ""},
		"name":    {name, "y", "does not lead to"},
		"hash":    {root + 4 + 8 + 3, "\x01", "does not lead to"},
		"block":   {root + 4 + 4, "\x02", "twice"},
		"order":   {root + 4 + 8 + 3, "\xff\xff", "order"},
		"count":   {root + 4 + 2, "\x00", "an index with 0"},
		"limit":   {root + 4, "\x7d", "of 125 entries"},
		"version": {root, "\x04", "hash 4"},
		"levels":  {root + 2, "\x02", "2 levels"},
		"beyond":  {root + 4 + 4, "\xff", "does not lead to"},
	} {
		t.Run(what, func(t *testing.T) {
			b := bytes.Clone(good)
			copy(b[c.at:], c.new)
			f, err := ext4.Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for _, walked := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
				err = walked
			}
			if c.text == "" && err != nil || c.text != "" && (!errors.Is(err, filesystem.ErrCorrupt) || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("%v, want %q", err, c.text)
			}
		})
	}
}
