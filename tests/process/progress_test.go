package process

import (
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestBar sees the bar on a terminal, and ends the program with Ctrl-C there.
func TestBar(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	endless(t, tree)
	r, typed := onTerminal(t, "stty rows 24 cols 80; exec "+harness.Program(t)+" rootfs sign --dry-run "+tree)
	if !r.until(func() bool {
		return strings.Contains(r.out.String(), "digested 0 entries") && strings.Contains(r.out.String(), "\x1b[")
	}) {
		t.Fatalf("there was no bar: %q", r.out.String())
	}
	_, err := typed.Write([]byte("\x03"))
	check(t, err)
	r.end(t, 1)
	demand(t, r.out.String(), "interrupted while planning: "+tree+" is as it was")
}

// TestLines waits for the first plain line, where there is no terminal.
func TestLines(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	endless(t, tree)
	r := start(t, nil, "rootfs", "sign", "--dry-run", tree)
	if !r.until(func() bool { return strings.Contains(r.err.String(), "imasign-build: digested 0 entries, 0 bytes\n") }) {
		t.Fatalf("there was no line: %q", r.err.String())
	}
	if strings.Contains(r.err.String(), "\x1b") {
		t.Errorf("%q is for a terminal", r.err.String())
	}
}
