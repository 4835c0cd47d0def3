package docs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestInstall checks that make install installs a program that runs and completions that a
// shell reads, and that make uninstall removes all of it.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	run := func(target string) {
		t.Helper()
		harness.Must(t, harness.Tool(t, "make"), "-C", root, target, "DESTDIR="+dir, "PREFIX=/usr")
	}
	run("install")
	want := map[string]fs.FileMode{
		"usr/bin/imasign-build":                                  0o755,
		"usr/lib/systemd/system/imasign-build.service":           0o644,
		"usr/share/imasign-build/systemd/tpm.conf":               0o644,
		"usr/share/bash-completion/completions/imasign-build":    0o644,
		"usr/share/zsh/site-functions/_imasign-build":            0o644,
		"usr/share/fish/vendor_completions.d/imasign-build.fish": 0o644,
	}
	if got := installed(t, dir); !maps.Equal(got, want) {
		t.Errorf("make install: %v, want %v", got, want)
	}
	if out := harness.Must(t, filepath.Join(dir, "usr/bin/imasign-build"), "version"); !strings.HasPrefix(out, "imasign-build ") {
		t.Errorf("version: %q", out)
	}
	unit, err := os.ReadFile(filepath.Join(dir, "usr/lib/systemd/system/imasign-build.service"))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/usr/bin/imasign-build serve ") {
		t.Errorf("%v, the unit runs another program", err)
	}
	completion := filepath.Join(dir, "usr/share/bash-completion/completions/imasign-build")
	if out := harness.Must(t, harness.Tool(t, "bash"), "-c", `. "$0" && complete -p imasign-build`, completion); !strings.Contains(out, "imasign-build") {
		t.Errorf("bash completes nothing: %q", out)
	}
	zsh, err := os.ReadFile(filepath.Join(dir, "usr/share/zsh/site-functions/_imasign-build"))
	if err != nil || !strings.HasPrefix(string(zsh), "#compdef imasign-build\n") {
		t.Errorf("%v, zsh's completion starts with %.40q", err, zsh)
	}
	run("uninstall")
	if got := installed(t, dir); len(got) != 0 {
		t.Errorf("make uninstall leaves %v", got)
	}
}

// installed returns the files below a directory and their permissions.
func installed(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	files := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[strings.TrimPrefix(path, dir+"/")] = info.Mode().Perm()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
