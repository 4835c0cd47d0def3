package process

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// passphrase differs in each run, so that a match in /proc belongs to this run.
var passphrase = rand.Text()

// source passes the passphrase in one of the ways of --key-pass.
type source struct {
	name    string
	flag    string
	prepare func(*exec.Cmd)
}

func sources(t *testing.T, secret string) []source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pass")
	check(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	return []source{
		{"env", "env:IMASIGN_TEST_PASS", func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "IMASIGN_TEST_PASS="+secret) }},
		{"file", "file:" + file, func(*exec.Cmd) {}},
		{"fd", "fd:3", func(cmd *exec.Cmd) {
			f, err := os.Open(file)
			check(t, err)
			t.Cleanup(func() { _ = f.Close() })
			cmd.ExtraFiles = []*os.File{f}
		}},
	}
}

// encrypted makes a key set whose private keys need the passphrase.
func encrypted(t *testing.T) string {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	s := sources(t, passphrase)[0]
	r := start(t, s.prepare, "key", "init", "--algorithm", "p256", "--with", "evm", "--key-pass", s.flag, "--json", keys)
	r.end(t, 0)
	r.secretFree(t)
	return keys
}

// secretFree checks that the output does not contain the passphrase.
func (r *running) secretFree(t *testing.T) {
	t.Helper()
	if strings.Contains(r.out.String()+r.err.String(), passphrase) {
		t.Errorf("the passphrase was printed:\n%s%s", &r.out, &r.err)
	}
}

func TestThePassphraseIsNowhere(t *testing.T) {
	harness.Root(t)
	keys := encrypted(t)
	for _, s := range sources(t, passphrase) {
		t.Run(s.name, func(t *testing.T) {
			tree, manifest := t.TempDir(), filepath.Join(t.TempDir(), "manifest")
			check(t, os.WriteFile(filepath.Join(tree, "a"), []byte("content"), 0o644))
			r := start(t, s.prepare, signArgs(keys, tree, "--key-pass", s.flag, "--evm", "portable", "--evm-target", "64le", "--verbose", "--json", "--manifest", manifest)...)
			r.end(t, 0)
			r.secretFree(t)
			lines, err := os.ReadFile(manifest)
			check(t, err)
			if strings.Contains(string(lines)+values(t, tree), passphrase) {
				t.Error("the passphrase is in the manifest or an xattr")
			}

			huge := endless(t, tree)
			r = start(t, s.prepare, signArgs(keys, tree, "--key-pass", s.flag)...)
			r.planning(t, huge)
			r.visible(t, s.name == "env")
			r.signal(t, syscall.SIGINT)
			r.end(t, 1)
			r.secretFree(t)
		})
	}
}

// visible checks, while the program runs, that no process shows the passphrase in /proc.
// The program's own environment may contain it if the caller put it there (own).
func (r *running) visible(t *testing.T, own bool) {
	t.Helper()
	lists, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	check(t, err)
	seen := 0
	for _, file := range append(lists, environments...) {
		shown, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		seen++
		if bytes.Contains(shown, []byte(passphrase)) && (!own || file != r.proc("environ")) {
			t.Errorf("the passphrase is in %s", file)
		}
	}
	if seen < 4 {
		t.Errorf("only %d files of /proc could be read", seen)
	}
	children, err := filepath.Glob(r.proc("task/*/children"))
	check(t, err)
	for _, file := range children {
		if list, err := os.ReadFile(file); err != nil || len(list) > 0 {
			t.Errorf("%s: %q (%v): the program starts no others", file, list, err)
		}
	}
	if len(children) == 0 {
		t.Error("no list of children")
	}
}

// TestAWrongPassphraseIsNotRepeated checks that neither the wrong passphrase nor the right
// one is printed.
func TestAWrongPassphraseIsNotRepeated(t *testing.T) {
	keys, tree := encrypted(t), t.TempDir()
	for _, s := range sources(t, passphrase+"-not") {
		r := start(t, s.prepare, signArgs(keys, tree, "--key-pass", s.flag)...)
		r.end(t, 1)
		r.secretFree(t)
		demand(t, r.err.String(), "wrong passphrase", filepath.Join(keys, "x509_ima.key"))
	}
	r := start(t, nil, signArgs(keys, tree)...)
	r.end(t, 1)
	demand(t, r.err.String(), "--key-pass env:NAME, file:PATH, fd:N or cred:NAME gives it")
}

// onTerminal starts a command on a terminal of its own. Writes to the Writer are typed.
func onTerminal(t *testing.T, command string) (*running, io.Writer) {
	t.Helper()
	r := &running{Cmd: exec.Command(harness.Tool(t, "script"), "--quiet", "--return", "--command", command, "/dev/null"), ended: make(chan struct{})}
	r.Stdout, r.Stderr = &r.out, &r.err
	typed, err := r.StdinPipe()
	check(t, err)
	r.launch(t)
	return r, typed
}

// TestTerminal types the passphrase into a terminal, which must not echo it.
func TestTerminal(t *testing.T) {
	harness.Root(t)
	keys, tree := encrypted(t), t.TempDir()
	check(t, os.WriteFile(filepath.Join(tree, "a"), []byte("content"), 0o644))
	command := fmt.Sprintf("%s rootfs sign --key %s/x509_ima.key --cert %[2]s/x509_ima.crt %s", harness.Program(t), keys, tree)
	for answer, code := range map[string]int{passphrase: 0, "wrong": 1} {
		r, typed := onTerminal(t, command)
		// The terminal echoes text that is typed earlier.
		if !r.until(func() bool { return strings.Contains(r.out.String(), "passphrase of "+keys+"/x509_ima.key: ") }) {
			t.Fatalf("it did not ask: %s%s", &r.out, &r.err)
		}
		_, err := typed.Write([]byte(answer + "\n"))
		check(t, err)
		r.end(t, code)
		r.secretFree(t)
		if code == 0 {
			demand(t, r.out.String(), "1 signed")
		} else {
			demand(t, r.out.String(), "wrong passphrase")
		}
	}
}
