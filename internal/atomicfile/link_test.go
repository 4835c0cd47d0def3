package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestPublishByLink tests the code for file systems without RENAME_NOREPLACE.
func TestPublishByLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for _, want := range []error{nil, ErrExists} {
		f, err := begin(path, 0o600, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.out.(fresh).publishByLink(f.file.Name()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		f.Abort()
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("left %v, %v", entries, err)
		}
	}
}
