package ext4

import (
	"fmt"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestHashes compares hashes of names with those of debugfs, which has no unsigned ones.
func TestHashes(t *testing.T) {
	for version, name := range []string{hashLegacy: "legacy", hashHalfMD4: "half_md4", hashTEA: "tea"} {
		for seed, words := range map[string][4]uint32{"": {}, "-s 01000000-0200-0000-0300-000004000080": {1, 2, 3, 0x80000004}} {
			h := hasher{version: byte(version), seed: words}
			for _, text := range []string{"a", "abc", "four", "h\u00f6r", strings.Repeat("0123456789\u00e9", 3), strings.Repeat("n\u00e9", 85)} {
				out := harness.Must(t, "debugfs", "-R", "dx_hash -h "+name+" "+seed+" "+text)
				if want := fmt.Sprintf("is 0x%x ", h.sum(text)); !strings.Contains(out, want) {
					t.Errorf("%s %q: want %q, %s", name, text, want, out)
				}
			}
		}
	}
}
