package process

import (
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestBar sees the bar on a terminal, and ends the program with Ctrl-C there.
func TestBar(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	endless(t, tree)
	r, typed := onTerminal(t, "stty rows 24 cols 80; export TERM=xterm; exec "+harness.Program(t)+" rootfs sign --dry-run "+tree)
	if !r.until(func() bool {
		return strings.Contains(r.out.String(), "digested 0 of 1 entries") && strings.Contains(r.out.String(), "\x1b[")
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
	if !r.until(func() bool {
		return strings.Contains(r.err.String(), "imasign-build: digested 0 of 1 entries, 0.0 of ")
	}) {
		t.Fatalf("there was no line: %q", r.err.String())
	}
	if strings.Contains(r.err.String(), "\x1b") {
		t.Errorf("%q is for a terminal", r.err.String())
	}
}

// TestThePromptIsLeftAlone waits longer than the bar takes to be drawn again.
func TestThePromptIsLeftAlone(t *testing.T) {
	harness.Root(t)
	keys, tree := encrypted(t), t.TempDir()
	huge := endless(t, tree)
	command := "stty rows 24 cols 200; export TERM=xterm; exec " + harness.Program(t) + " rootfs sign --key " + keys + "/x509_ima.key " + tree
	r, typed := onTerminal(t, command)
	prompt := "passphrase of " + keys + "/x509_ima.key: "
	if !r.until(func() bool { return strings.Contains(r.out.String(), prompt) }) {
		t.Fatalf("it did not ask: %q", r.out.String())
	}
	time.Sleep(500 * time.Millisecond)
	if said := r.out.String(); !strings.HasSuffix(said, prompt) {
		t.Errorf("the prompt is written over: %q", said)
	}
	_, err := typed.Write([]byte(passphrase + "\n"))
	check(t, err)
	if !r.until(func() bool {
		_, after, _ := strings.Cut(r.out.String(), prompt)
		return strings.Contains(after, "digested 0 of 1 entries")
	}) {
		t.Errorf("the bar did not come back: %q", r.out.String())
	}
	_, err = typed.Write([]byte("\x03"))
	check(t, err)
	r.end(t, 1)
	if huge == "" || strings.ContainsFunc(r.out.String(), func(c rune) bool { return c >= 0x80 }) {
		t.Errorf("the bar is not ASCII: %q", r.out.String())
	}
}

// TestDumbTerminal gets plain lines.
func TestDumbTerminal(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	endless(t, tree)
	r, typed := onTerminal(t, "export TERM=dumb LC_ALL=C; exec "+harness.Program(t)+" rootfs sign --dry-run "+tree)
	if !r.until(func() bool {
		return strings.Contains(r.out.String(), "imasign-build: digested 0 of 1 entries, 0.0 of ")
	}) {
		t.Fatalf("there was no line: %q", r.out.String())
	}
	_, err := typed.Write([]byte("\x03"))
	check(t, err)
	r.end(t, 1)
	if strings.ContainsFunc(r.out.String(), func(c rune) bool { return c >= 0x80 || c == '\x1b' }) {
		t.Errorf("it is not for a dumb terminal: %q", r.out.String())
	}
}
