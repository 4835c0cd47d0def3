package input_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/input"
)

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	f, err := input.Spool(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the directory has %v, %v", names, err)
	}
	if _, err := f.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := input.Spool(dir + "/none"); err == nil || !strings.Contains(err.Error(), dir+"/none") {
		t.Errorf("without the directory: %v", err)
	}
}
