package systemd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// installed returns a directory with the unit as make install writes it, for a program that exists.
func installed(t *testing.T, dropIns ...string) (unit string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("../../systemd/imasign-build.service")
	if err != nil {
		t.Fatal(err)
	}
	unit = filepath.Join(dir, "imasign-build.service")
	write(t, unit, strings.ReplaceAll(string(text), "/usr/local/bin/imasign-build", harness.Tool(t, "true")))
	for _, name := range dropIns {
		text, err := os.ReadFile("../../systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(unit+".d", name), string(text))
	}
	return unit
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestUnits checks that systemd knows everything in the units, and how much they expose.
func TestUnits(t *testing.T) {
	analyze := harness.Tool(t, "systemd-analyze")
	for _, dropIns := range [][]string{nil, {"tpm.conf"}} {
		unit := installed(t, dropIns...)
		if r := harness.Run(t, analyze, "verify", "--man=no", unit); r.Code != 0 || strings.Contains(r.Err, filepath.Base(unit)) {
			t.Errorf("%v: exit code %d\n%s%s", dropIns, r.Code, r.Out, r.Err)
		}
		// The worst is 10.0. The threshold is in tenths.
		if r := harness.Run(t, analyze, "security", "--offline=yes", "--no-pager", "--threshold=20", unit); r.Code != 0 {
			t.Errorf("%v: %s%s", dropIns, r.Out, r.Err)
		}
	}
}

// TestMisspeltUnit checks that verifying notices a mistake.
func TestMisspeltUnit(t *testing.T) {
	unit := installed(t)
	write(t, filepath.Join(unit+".d", "x.conf"), "[Service]\nProtectSystm=strict\n")
	if r := harness.Run(t, harness.Tool(t, "systemd-analyze"), "verify", "--man=no", unit); !strings.Contains(r.Err, "ProtectSystm") {
		t.Errorf("got %s", r.Err)
	}
}
