package ext4_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/imagetest"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestFacts compares facts with those that blkid and dumpe2fs print.
func TestFacts(t *testing.T) {
	for _, options := range []string{
		"-t ext2 -L label-with-16-byte", "-t ext2 -O has_journal", "-t ext2 -O extents", "-t ext2 -O sparse_super2,^resize_inode", "-t ext3 -L name",
		"-t ext4 -O inline_data,quota,project,verity,mmp,fast_commit,stable_inodes,orphan_file,large_dir,metadata_csum_seed", "-t ext2 -O uninit_bg -r 1", "-t ext2 -O ^filetype",
	} {
		t.Run(options, func(t *testing.T) {
			image := mkfs(t, t.TempDir(), options)
			got := imagetest.Open(t, ext4.Open, image).Facts()
			for name, value := range map[string]string{"TYPE": got.Type, "LABEL": got.Label, "UUID": got.UUID} {
				if want := strings.TrimSpace(harness.Run(t, "blkid", "-p", "-o", "value", "-s", name, image).Out); value != want {
					t.Errorf("%s is %q, blkid prints %q", name, value, want)
				}
			}
			dump := field(t, harness.Must(t, "dumpe2fs", "-h", image), "Filesystem features:")
			if want := strings.Fields(dump); !slices.Equal(got.Features, slices.Sorted(slices.Values(want))) {
				t.Errorf("features %q, dumpe2fs prints %q", got.Features, want)
			}
			if got.BlockSize != 4096 && got.BlockSize != 1024 || got.Size != 160<<20 {
				t.Errorf("size %d in blocks of %d", got.Size, got.BlockSize)
			}
		})
	}
}

// field returns the rest of the line that begins with a name.
func field(t *testing.T, text, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, name)
	if !found {
		t.Fatalf("%s is missing in %s", name, text)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
