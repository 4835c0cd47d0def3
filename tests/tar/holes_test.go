package tar

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestHoleAlone signs bsdtar's archive of a file that is only a hole. Its sparse map begins
// with 0 bytes at offset 0. GNU tar and bsdtar must extract the result.
func TestHoleAlone(t *testing.T) {
	d, dir := newDifferential(t), t.TempDir()
	harness.Tool(t, "bsdtar")
	file, archive := filepath.Join(dir, "hole"), filepath.Join(dir, "archive")
	write(t, file, "")
	check(t, os.Truncate(file, 1<<20))
	harness.Must(t, "bsdtar", "--format", "pax", "-C", dir, "-cf", archive, "hole")
	text, err := os.ReadFile(archive)
	check(t, err)
	signed, err := d.sign(text)
	check(t, err)
	check(t, d.verify(signed))
	write(t, archive, string(signed))
	for program := range extractors {
		check(t, d.judgeTree(extracted(t, program, archive)))
	}
}
