package shards_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestPython has another implementation of the format read what Export wrote, and write it
// again: it must get the same files.
func TestPython(t *testing.T) {
	harness.Tool(t, "python3")
	ours, theirs := filepath.Join(t.TempDir(), "ours"), filepath.Join(t.TempDir(), "theirs")
	list := entries([][]byte{key(t), key(t)}, 2000)
	export(t, ours, list)
	text := harness.Must(t, "python3", "testdata/shards.py", "read", ours)
	if n := strings.Count(text, "\n"); n != len(list) {
		t.Errorf("python3 read %d of %d signatures", n, len(list))
	}
	write := exec.Command("python3", "testdata/shards.py", "write", theirs)
	write.Stdin = strings.NewReader(text)
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if x, y := names(t, ours), names(t, theirs); !slices.Equal(x, y) {
		t.Errorf("Export wrote %q, python3 %q", x, y)
	}
	if got := read(t, theirs); !slices.EqualFunc(got, list, equal) {
		t.Errorf("read %d other entries than the %d that python3 wrote", len(got), len(list))
	}
}

// names returns the names of the files in a directory. Those of shards have their content's
// digest.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	check(t, err)
	for _, f := range files {
		list = append(list, f.Name())
	}
	return list
}
