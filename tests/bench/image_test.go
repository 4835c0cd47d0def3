package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// BenchmarkImage verifies images. It compares with verifying a mount, which root can make,
// and with unpacking an image by its own tool and verifying the tree.
func BenchmarkImage(b *testing.B) {
	harness.Root(b)
	tree := b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	keys := harness.Keys(b, "p256")
	manifest := filepath.Join(b.TempDir(), "manifest")
	harness.Sign(b, keys, tree, "--manifest", manifest)
	for _, f := range []struct {
		name         string
		make, unpack []string // TREE, IMAGE and DIR are replaced
	}{
		{"ext4", []string{"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", "TREE", "IMAGE", "8G"}, nil},
		{"squashfs-gzip", []string{"mksquashfs", "TREE", "IMAGE", "-quiet", "-no-progress", "-Xcompression-level", "6"}, []string{"unsquashfs", "-quiet", "-no-progress", "-dest", "DIR", "IMAGE"}},
		{"squashfs-zstd", []string{"mksquashfs", "TREE", "IMAGE", "-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "3"}, []string{"unsquashfs", "-quiet", "-no-progress", "-dest", "DIR", "IMAGE"}},
		{"erofs-lz4hc", []string{"mkfs.erofs", "--quiet", "-zlz4hc", "IMAGE", "TREE"}, []string{"fsck.erofs", "--extract=DIR", "--overwrite", "IMAGE"}},
	} {
		b.Run(f.name, func(b *testing.B) {
			image := filepath.Join(b.TempDir(), "image")
			run(b, replaced(f.make, tree, image, ""))
			if f.name == "ext4" { // the manifest does not list what mke2fs adds, and a mount shows it
				harness.Must(b, "debugfs", "-w", "-R", "rmdir lost+found", image)
			}
			benchmarkImage(b, []string{"verify", "--progress=none", "--cert", filepath.Join(keys, "x509_ima.crt"), "--manifest", manifest}, image, f.unpack)
			b.ReportMetric(float64(have), "files")
		})
	}
}

// replaced returns a command with the paths in it.
func replaced(command []string, tree, image, dir string) *exec.Cmd {
	var args []string
	for _, arg := range command {
		args = append(args, strings.NewReplacer("TREE", tree, "IMAGE", image, "DIR", dir).Replace(arg))
	}
	return exec.Command(args[0], args[1:]...)
}

// benchmarkImage measures one image. Every way reads the image from the page cache.
func benchmarkImage(b *testing.B, verify []string, image string, unpack []string) {
	b.Helper()
	program := harness.Program(b)
	var ours, mounted, unpacked float64
	var rss int64
	for b.Loop() {
		ours += timed(func() {
			r := harness.RunMeasured(b, program, append(append([]string{"image"}, verify...), image)...)
			if rss = max(rss, r.MaxRSS); r.Code != 0 {
				b.Fatalf("image verify: exit %d\n%s%s", r.Code, r.Out, r.Err)
			}
		})
		mounted += timed(func() {
			dir := imagetree.Mount(b, image)
			harness.Must(b, program, append(append([]string{"rootfs"}, verify...), dir)...)
			imagetree.Unmount(b, dir)
		})
		if unpack != nil {
			dir := filepath.Join(b.TempDir(), "unpacked")
			unpacked += timed(func() {
				run(b, replaced(unpack, "", image, dir))
				// fsck.erofs 1.5 leaves out xattrs, but contents are compared with the manifest.
				if r := harness.Run(b, program, append(append([]string{"rootfs"}, verify...), dir)...); r.Code != 0 && (r.Code != 3 || unpack[0] != "fsck.erofs") {
					b.Fatalf("rootfs verify: exit %d\n%s%s", r.Code, r.Out, r.Err)
				}
			})
			_ = os.RemoveAll(dir)
		}
	}
	b.ReportMetric(ours/float64(b.N), "s")
	b.ReportMetric(mounted/float64(b.N), "mount-s")
	b.ReportMetric(ours/mounted, "of-mount")
	if unpack != nil {
		b.ReportMetric(unpacked/float64(b.N), "unpack-s")
		b.ReportMetric(ours/unpacked, "of-unpack")
	}
	b.ReportMetric(float64(rss)/1e6, "MB")
	b.ReportMetric(0, "ns/op")
}
