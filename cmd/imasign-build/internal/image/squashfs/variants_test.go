package squashfs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/squashfs"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

var _ filesystem.Reader = (*squashfs.FileSystem)(nil)

// dropped are parts of the tree that mksquashfs does not keep: ACLs, and, unless the times
// of access are the same, hard links of symbolic links.
var dropped = []imagetree.Feature{imagetree.ACLs, imagetree.LinkedSymlinks}

func TestMain(m *testing.M) { harness.Main(m) }

// variant is a way to make an image.
type variant struct {
	options string // of mksquashfs
	always  bool   // not only at night
}

// variants are those that the kernel mounts.
var variants = []variant{
	{"-comp gzip", true},
	{"-comp gzip -Xcompression-level 1 -Xwindow-size 8 -Xstrategy huffman_only", false},
	{"-comp xz", true},
	{"-comp xz -Xbcj x86,arm,armthumb,powerpc,sparc,ia64 -b 1M", false},
	{"-comp xz -Xdict-size 8k", false},
	{"-comp zstd -b 1M", true},
	{"-comp zstd -Xcompression-level 22", false},
	{"-comp lz4", true},
	{"-comp lz4 -Xhc -b 4k", false},
	{"-noI -noId -noD -noF -noX -b 4k", true},
	{"-noI", false},
	{"-noX", false},
	{"-noD -comp zstd", false},
	{"-noF -comp zstd", false},
	{"-no-fragments -comp lz4", false},
	{"-always-use-fragments -comp lz4 -b 64k", false},
	{"-no-sparse -comp lz4", false},
	{"-no-duplicates -no-exports -comp lz4", false},
	{"-nopad -comp zstd -b 256k", false},
}

// TestAgainstTreeAndKernel compares what the reader finds in an image of each variant with
// the tree in it, and with what the kernel finds.
func TestAgainstTreeAndKernel(t *testing.T) {
	newTree := imagetree.Tiny
	if imagetree.Full() {
		newTree = imagetree.New
	}
	dir := newTree(t, dropped...)
	for i := range 10 { // of several blocks, with tails
		content := bytes.Repeat(fmt.Appendf(nil, "block %d\n", i), 10_000*i+1000)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("blocks", i)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := imagetree.List(t, dir)
	for _, v := range variants {
		if v.always || imagetree.Full() {
			t.Run(v.options, func(t *testing.T) {
				image := mksquashfs(t, dir, v.options)
				defer os.Remove(image)
				imagetest.Compare(t, squashfs.Open, image, tree)
			})
		}
	}
}

// TestLZMA compares with the tree alone: no kernel mounts LZMA.
func TestLZMA(t *testing.T) {
	dir := imagetree.Tiny(t, dropped...)
	image := mksquashfs(t, dir, "-comp lzma -b 16k")
	imagetree.Same(t, imagetree.List(t, dir), imagetest.List(t, imagetest.Open(t, squashfs.Open, image)))
}

// TestAsTheKernelShows has what mksquashfs drops or changes.
func TestAsTheKernelShows(t *testing.T) {
	dir := imagetree.Tiny(t) // with ACLs, which squashfs does not have
	for _, options := range []string{"-all-root", "-force-uid 7 -force-gid 4000000000", "-no-hardlinks"} {
		t.Run(options, func(t *testing.T) { asTheKernelShows(t, mksquashfs(t, dir, options)) })
	}
}

// asTheKernelShows compares a reader with a mount, and returns the files.
func asTheKernelShows(t *testing.T, image string) []imagetree.File {
	t.Helper()
	mounted := imagetree.Mount(t, image)
	files := imagetest.List(t, imagetest.Open(t, squashfs.Open, image))
	imagetree.Same(t, imagetree.List(t, mounted), files)
	imagetree.Unmount(t, mounted)
	return files
}

// TestFromArchives has images that other programs make from archives of GNU tar, which
// have no sockets and no hard links of devices and pipes. sqfstar 4.5.1 also cuts "../" off
// long targets of symbolic links.
func TestFromArchives(t *testing.T) {
	dir := imagetree.Tiny(t, dropped...)
	tree := archived(imagetree.List(t, dir))
	for _, command := range []string{
		"sqfstar -comp zstd IMAGE", "sqfstar -comp xz -b 8k IMAGE", "tar2sqfs -q -c gzip IMAGE", "tar2sqfs -q -c zstd -b 4k IMAGE",
		"tar2sqfs -q -c xz -X x86 IMAGE", "tar2sqfs -q -c lz4 -T IMAGE",
	} {
		t.Run(command, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			pipeline(t, "tar --sort=name --xattrs --xattrs-include='*' -C %s -c . | %s", dir, strings.ReplaceAll(command, "IMAGE", image))
			files := asTheKernelShows(t, image)
			if strings.HasPrefix(command, "tar2sqfs") {
				imagetree.Same(t, tree, files)
			}
		})
	}
}

// archived returns what GNU tar keeps of files.
func archived(files []imagetree.File) (kept []imagetree.File) {
	for _, f := range files {
		switch f.Mode & unix.S_IFMT {
		case unix.S_IFSOCK:
			continue
		case unix.S_IFBLK, unix.S_IFCHR, unix.S_IFIFO:
			f.Links, f.First = 1, f.Path
		}
		kept = append(kept, f)
	}
	return kept
}

// TestMutations damages images.
func TestMutations(t *testing.T) {
	dir := imagetree.Tiny(t, dropped...)
	all := []string{"-comp gzip", "-noI -noX -comp lz4", "-noI -noX -noD -noF", "-noI -noX -comp zstd -b 1M", "-noI -noX -comp xz"}
	if !imagetree.Full() {
		all = all[:2]
	}
	for _, options := range all {
		t.Run(options, func(t *testing.T) { imagetest.Mutate(t, squashfs.Open, mksquashfs(t, dir, options)) })
	}
}

// mksquashfs makes an image of a directory.
func mksquashfs(t testing.TB, dir, options string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	pipeline(t, "mksquashfs %s %s -quiet -no-progress -noappend %s", dir, image, options)
	return image
}

// pipeline runs commands in a shell, all of which must succeed.
func pipeline(t testing.TB, format string, args ...any) {
	t.Helper()
	harness.Must(t, "bash", "-euo", "pipefail", "-c", fmt.Sprintf(format, args...))
}
