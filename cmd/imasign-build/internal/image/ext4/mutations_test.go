package ext4_test

import (
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestMutations reads damaged images, most of them without the checksums that would hide
// the damage from the code behind them.
func TestMutations(t *testing.T) {
	dir := imagetree.Tiny(t, imagetree.LinkedSymlinks)
	all := []string{"^metadata_csum", "^metadata_csum,inline_data", "^metadata_csum,^extents,^64bit", "metadata_csum"}
	if !imagetree.Full() {
		all = all[:2]
	}
	for _, features := range all {
		t.Run(features, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			harness.Must(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", features, "-d", dir, image, "16M")
			imagetest.Mutate(t, ext4.Open, image)
		})
	}
}
