package bitbake

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestPartitionsAreFound checks that the class finds the ext4 partitions in disks that
// parted made. In a finished wic image it compares the /etc/fstab of each.
func TestPartitionsAreFound(t *testing.T) {
	ext4 := filepath.Join(t.TempDir(), "ext4")
	harness.Must(t, harness.Tool(t, "mkfs.ext4"), "-q", ext4, "4M")
	parted := harness.Tool(t, "parted")
	code := classFunction(t, "imasign-image", "imasign_ext_partitions") + "\nimport sys\nprint(*imasign_ext_partitions(sys.argv[1], int(sys.argv[2])))"
	for name, c := range map[string]struct {
		sector int
		layout string // for parted; @ marks the start of an ext4 partition, in MiB
	}{
		"GPT":                   {512, "mklabel gpt mkpart a 1MiB 2MiB mkpart b @2MiB 10MiB mkpart c @10MiB 20MiB"},
		"GPT, 4096-byte sector": {4096, "mklabel gpt mkpart a 1MiB 2MiB mkpart b @2MiB 10MiB"},
		"MBR":                   {512, "mklabel msdos mkpart primary 1MiB 2MiB mkpart primary @2MiB 10MiB"},
		"MBR, logical":          {512, "mklabel msdos mkpart primary @1MiB 8MiB mkpart extended 8MiB 40MiB mkpart logical @9MiB 15MiB mkpart logical 16MiB 20MiB mkpart logical @21MiB 30MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			disk := filepath.Join(t.TempDir(), "disk")
			harness.Must(t, "truncate", "-s", "64M", disk)
			harness.Must(t, "env", append([]string{fmt.Sprintf("PARTED_SECTOR_SIZE=%d", c.sector), parted, "-s", disk}, strings.Fields(strings.ReplaceAll(c.layout, "@", ""))...)...)
			var want []string
			for _, word := range strings.Fields(c.layout) {
				var mib int
				if n, _ := fmt.Sscanf(word, "@%dMiB", &mib); n == 1 {
					harness.Must(t, "dd", "if="+ext4, "of="+disk, "bs=1M", fmt.Sprintf("seek=%d", mib), "conv=notrunc", "status=none")
					want = append(want, fmt.Sprint(mib<<20))
				}
			}
			if out := strings.Fields(harness.Must(t, "python3", "-c", code, disk, fmt.Sprint(c.sector))); strings.Join(out, " ") != strings.Join(want, " ") {
				t.Errorf("ext4 found at %v, want %v", out, want)
			}
		})
	}
}
