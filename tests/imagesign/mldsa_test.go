package imagesign

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestMLDSA signs images whose values do not fit into one block. What the kernel shows must
// be what a signed tree has.
func TestMLDSA(t *testing.T) {
	l := newLab(t)
	tree := imagetree.Tiny(t, without("")...)
	for _, c := range []struct {
		algorithm, options string
		always             bool
	}{
		{"mldsa87", "-t ext4 -b 1024 -O ea_inode", true},
		{"mldsa65", "-t ext4 -b 4096 -O ea_inode", true},
		{"mldsa87", "-t ext4 -b 4096 -I 128 -O ea_inode", false},
		{"mldsa44", "-t ext4 -b 1024 -O ea_inode", false},
	} {
		if !c.always && !imagetree.Full() {
			continue
		}
		t.Run(c.algorithm+" "+c.options, func(t *testing.T) {
			l := *l
			l.TB = t
			l.keys = filepath.Join(l.dir, c.algorithm)
			harness.Must(t, l.program, "key", "init", "--algorithm", c.algorithm, "--with", "evm", l.keys)
			harness.Must(t, "chown", "-R", fmt.Sprint(user), l.keys)
			signed := filepath.Join(harness.LargeXattrs(t), "signed")
			harness.Must(t, "cp", "-a", tree, signed)
			harness.Must(t, l.program, "rootfs", "sign", "--key", l.keys, "--force", "--evm", "portable", signed)
			image := l.image("image", tree, c.options)
			l.signed("--force", "--evm", "portable", image, "-o", "out")
			harness.Must(t, "e2fsck", "-fn", l.path("out"))
			imagetree.Same(t, imagetree.List(t, signed), imagetree.List(t, imagetree.Mount(t, l.path("out"))))
			harness.Must(t, "rm", "-r", l.keys)
		})
	}
}
