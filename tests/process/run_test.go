package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/tests/harness"
)

const securityIMA = "security.ima"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output collects a process's output. It can be read while the process runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is a running program.
type running struct {
	*exec.Cmd
	out, err output
	ended    chan struct{}
}

// start starts the program. prepare, unless nil, completes the command.
func start(t *testing.T, prepare func(*exec.Cmd), args ...string) *running {
	t.Helper()
	r := &running{Cmd: exec.Command(harness.Program(t), args...), ended: make(chan struct{})}
	r.Stdout, r.Stderr = &r.out, &r.err
	if prepare != nil {
		prepare(r.Cmd)
	}
	r.launch(t)
	return r
}

func (r *running) launch(t *testing.T) {
	t.Helper()
	check(t, r.Start())
	go func() {
		_ = r.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() { _ = r.Process.Kill(); <-r.ended })
}

func (r *running) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := r.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// until waits until is returns true, and reports whether the program was still running
// then. It gives up after a while.
func (r *running) until(is func() bool) bool {
	enough := time.After(2 * time.Minute)
	for !is() {
		select {
		case <-r.ended:
			return false
		case <-enough:
			return false
		case <-time.After(100 * time.Microsecond):
		}
	}
	return true
}

// end waits for the program and checks its exit code.
func (r *running) end(t *testing.T, code int) {
	t.Helper()
	<-r.ended
	if got := r.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit %d, not %d\n%s%s", got, code, &r.out, &r.err)
	}
}

func (r *running) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", r.Process.Pid, name) }

// endless adds a file to a tree whose digest takes longer than any test. While the program
// has it open, the program is planning.
func endless(t *testing.T, tree string) string {
	t.Helper()
	file := filepath.Join(tree, "endless")
	check(t, os.WriteFile(file, nil, 0o644))
	check(t, os.Truncate(file, 4<<40))
	return file
}

// planning waits until the program has file open.
func (r *running) planning(t *testing.T, file string) {
	t.Helper()
	file, err := filepath.EvalSymlinks(file)
	check(t, err)
	if !r.until(func() bool { return r.has(file) }) {
		t.Fatalf("ended before it was planning: %s%s", &r.out, &r.err)
	}
}

func (r *running) has(file string) bool {
	list, _ := filepath.Glob(r.proc("fd/*"))
	for _, link := range list {
		if to, err := os.Readlink(link); err == nil && to == file {
			return true
		}
	}
	return false
}

// state returns everything about a tree that signing could change.
func state(t *testing.T, tree string) string {
	t.Helper()
	return harness.Must(t, "find", tree, "-printf", `%p %y %i %s %m %U %G %C@ %T@\n`) + values(t, tree)
}

func values(t *testing.T, tree string) string {
	t.Helper()
	return harness.Must(t, "getfattr", "--absolute-names", "-R", "-P", "-d", "-m", "^security", "-e", "hex", tree)
}

// value returns a file's security.ima, "" for none.
func value(file string) string {
	v, _ := xattr.Get(file, securityIMA)
	return string(v)
}

// manyFiles makes a tree with so many files that attaching takes a while.
func manyFiles(t *testing.T, count int) (string, []string) {
	t.Helper()
	tree := t.TempDir()
	files := make([]string, count)
	for i := range files {
		files[i] = filepath.Join(tree, fmt.Sprintf("%05d", i))
		check(t, os.WriteFile(files[i], []byte(files[i]), 0o644))
	}
	return tree, files
}

func signArgs(keys, tree string, flags ...string) []string {
	args := append([]string{"rootfs", "sign", "--progress=none", "--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt")}, flags...)
	return append(args, tree)
}

func demand(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}
