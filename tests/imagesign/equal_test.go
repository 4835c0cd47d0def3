package imagesign

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// variants are file systems that mke2fs makes, and whether they are tested by day.
var variants = []struct {
	name, options string
	always        bool
}{
	{"ext2", "-t ext2 -b 1024 -I 256", true},
	{"ext3", "-t ext3 -b 4096", false},
	{"ext4", "-t ext4 -b 4096", true},
	{"ext4 in blocks of 1 KiB", "-t ext4 -b 1024", true},
	{"ext4 in blocks of 2 KiB", "-t ext4 -b 2048 -I 512", false},
	{"ext4 with inodes of 128 bytes", "-t ext4 -b 4096 -I 128", true},
	{"no checksums", "-t ext4 -b 4096 -O ^metadata_csum,^64bit,uninit_bg", false},
	{"ea_inode", "-t ext4 -b 1024 -I 128 -O ea_inode", true},
	{"inline_data", "-t ext4 -b 4096 -O inline_data", true},
	{"bigalloc", "-t ext4 -b 1024 -C 16384 -O bigalloc", true},
	{"many features", "-t ext4 -b 4096 -O large_dir,verity,orphan_file,stable_inodes,metadata_csum_seed", false},
}

// without are the parts of the tree that mke2fs cannot keep. There are few different trees,
// because to make one takes longer than to sign an image.
func without(options string) []imagetree.Feature {
	switch options {
	case "-t ext4 -b 4096":
		return []imagetree.Feature{imagetree.LinkedSymlinks}
	case "-t ext4 -b 1024 -I 128 -O ea_inode":
		return []imagetree.Feature{imagetree.LinkedSymlinks, imagetree.LongSymlinks}
	}
	return []imagetree.Feature{imagetree.LinkedSymlinks, imagetree.LongSymlinks, imagetree.LargeXattrs, imagetree.TailHoles}
}

// TestEqualsSigningTheTree compares images that were signed with images of signed trees,
// as the kernel shows them.
func TestEqualsSigningTheTree(t *testing.T) {
	l := newLab(t)
	type listed struct {
		dir   string
		files []imagetree.File
	}
	trees := map[string]listed{} // by what they are without
	for _, v := range variants {
		if !v.always && !imagetree.Full() {
			continue
		}
		key := fmt.Sprint(without(v.options))
		if _, made := trees[key]; !made {
			dir := imagetree.Tiny(t, without(v.options)...)
			signed := filepath.Join(t.TempDir(), "signed")
			harness.Must(t, "cp", "-a", dir, signed)
			// Some files have other values of security.ima, which are not signatures.
			harness.Must(t, l.program, "rootfs", "sign", "--key", l.keys, "--force", "--evm", "portable", "--manifest", l.path("manifest"+key), signed)
			trees[key] = listed{dir, imagetree.List(t, signed)}
		}
		t.Run(v.name, func(t *testing.T) {
			l := *l
			l.TB = t
			image := l.image("image", trees[key].dir, v.options)
			defer os.Remove(image)
			l.signed("--force", "--evm", "portable", "--manifest", "manifest", image, "-o", "out")
			harness.Must(t, "e2fsck", "-fn", l.path("out"))
			imagetree.Same(t, trees[key].files, imagetree.List(t, imagetree.Mount(t, l.path("out"))))
			harness.Must(t, "cmp", l.path("manifest"), l.path("manifest"+key))
		})
	}
}
