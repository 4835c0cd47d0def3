package ext4_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// variant is a file system that mke2fs makes.
type variant struct {
	name    string
	options string
	always  bool // not only at night
}

// variants are those that the kernel mounts with pages of 4 KiB.
var variants = []variant{
	{"ext2", "-t ext2 -b 4096", false},
	{"ext2 in blocks of 1 KiB", "-t ext2 -b 1024", true},
	{"ext2 in blocks of 2 KiB", "-t ext2 -b 2048", false},
	{"ext2 without file types", "-t ext2 -b 4096 -O ^filetype", false},
	{"ext3", "-t ext3 -b 4096", false},
	{"ext3 in blocks of 1 KiB", "-t ext3 -b 1024", false},
	{"ext4", "-t ext4 -b 4096", true},
	{"ext4 in blocks of 1 KiB", "-t ext4 -b 1024", false},
	{"ext4 in blocks of 2 KiB", "-t ext4 -b 2048", false},
	{"ext4 with inodes of 128 bytes", "-t ext4 -b 4096 -I 128", false},
	{"ext4 with inodes of 512 bytes", "-t ext4 -b 4096 -I 512", false},
	{"ext4 with inodes of 1024 bytes", "-t ext4 -b 1024 -I 1024", false},
	{"meta_bg", "-t ext4 -b 1024 -O meta_bg,^resize_inode", false},
	{"meta_bg with some groups as usual", "-t ext4 -b 1024 -O meta_bg,^resize_inode,^64bit,^flex_bg", false},
	{"sparse_super2", "-t ext4 -b 4096 -O sparse_super2,^resize_inode", false},
	{"no checksums", "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg", false},
	{"no 64bit", "-t ext4 -b 4096 -O ^64bit", false},
	{"no extents", "-t ext4 -b 4096 -O ^extents,^64bit,^flex_bg", false},
	{"no flex_bg", "-t ext4 -b 4096 -O ^flex_bg", false},
	{"ea_inode", "-t ext4 -b 1024 -O ea_inode", true},
	{"inline_data", "-t ext4 -b 4096 -O inline_data", true},
	{"inline_data in inodes of 512 bytes", "-t ext4 -b 4096 -I 512 -O inline_data,ea_inode", false},
	{"bigalloc", "-t ext4 -b 1024 -C 16384 -O bigalloc", false},
	{"bigalloc in blocks of 4 KiB", "-t ext4 -b 4096 -O bigalloc,^64bit", false},
	{"quotas", "-t ext4 -b 4096 -O quota,project", false},
	{"many features", "-t ext4 -b 4096 -O large_dir,verity,orphan_file,stable_inodes,metadata_csum_seed,mmp", true},
}

// without are the parts of the tree that mke2fs cannot keep.
func (v variant) without() []imagetree.Feature {
	list := []imagetree.Feature{imagetree.LinkedSymlinks}
	if !strings.Contains(v.options, "-b 4096") {
		list = append(list, imagetree.LongSymlinks)
		if !strings.Contains(v.options, "ea_inode") {
			list = append(list, imagetree.LargeXattrs)
		}
	}
	if strings.Contains(v.options, "inline_data") {
		list = append(list, imagetree.TailHoles)
	}
	return list
}

// TestAgainstTreeAndKernel compares what the reader finds in an image of each variant with
// the tree in it, and with what the kernel finds.
func TestAgainstTreeAndKernel(t *testing.T) {
	type listed struct {
		dir   string
		files []imagetree.File
	}
	trees := map[string]listed{} // by what they are without
	for _, v := range variants {
		if !v.always && !imagetree.Full() {
			continue
		}
		key := fmt.Sprint(v.without())
		if _, made := trees[key]; !made {
			dir := imagetree.New(t, v.without()...)
			trees[key] = listed{dir, imagetree.List(t, dir)}
		}
		t.Run(v.name, func(t *testing.T) {
			image := mkfs(t, trees[key].dir, v.options)
			defer os.Remove(image)
			imagetest.Compare(t, ext4.Open, image, trees[key].files)
		})
	}
}

// mkfs makes an image from a directory.
func mkfs(t testing.TB, dir, options string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	size := int64(160 << 20)
	if imagetree.Full() {
		size = 1 << 30
	}
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "mke2fs", append(strings.Fields(options), "-q", "-F", "-d", dir, image)...)
	return image
}

// TestInlineTruncation checks that files are shown as the kernel shows them: mke2fs 1.47.0
// cuts the inline data of files that end in a hole.
func TestInlineTruncation(t *testing.T) {
	image := mkfs(t, imagetree.New(t, imagetree.LinkedSymlinks), "-t ext4 -b 4096 -O inline_data")
	mounted := imagetree.List(t, imagetree.Mount(t, image))
	imagetree.Same(t, mounted, imagetest.List(t, imagetest.Open(t, ext4.Open, image)))
}
