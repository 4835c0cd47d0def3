// Package harness is shared by the end-to-end tests: it builds the program, runs the
// peers, and provides real files to work on. A missing tool fails the test.
package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Main is the body of TestMain: it runs the tests, removes the program that they built,
// calls remove, and exits. Programs keep no signatures for the next run, unless a test says
// where.
func Main(m *testing.M, remove ...func() error) {
	if err := os.Setenv("IMASIGN_CACHE", "none"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, remove := range append(remove, removeProgram) {
		if err := remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

var built string // the directory of the program, "" for none

func removeProgram() error {
	if built == "" {
		return nil
	}
	return os.RemoveAll(built)
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "imasign-build-*")
	if err != nil {
		return "", err
	}
	built = dir
	program := filepath.Join(dir, "imasign-build")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/imasign/imasign-build/cmd/imasign-build")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return program, nil
})

// Program builds imasign-build, once per test binary, and returns its path.
func Program(t testing.TB) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatalf("build imasign-build: %v", err)
	}
	return program
}

// Root fails the test unless it runs as root, which it needs for security.* xattrs, other
// owners, mounts and device nodes. With -short (make quick) Root skips the test instead.
func Root(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs root")
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test must run as root")
	}
}

// Tool fails the test unless the peer is installed. With -short (make quick) it skips the
// test instead.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("-short: it needs %s", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing; tests/deps.sh installs it", name)
	}
	return path
}

// Result is the outcome of a command.
type Result struct {
	Out, Err string
	Code     int     // exit code, -1 when a signal ended it
	MaxRSS   int64   // bytes; set by RunMeasured and RunCommandMeasured
	CPU      float64 // user CPU seconds; set like MaxRSS
}

// Run runs a command to its end. Any exit code is accepted.
func Run(t testing.TB, program string, args ...string) Result {
	t.Helper()
	return RunCommand(t, exec.Command(program, args...))
}

// RunCommand is Run for a prepared command.
func RunCommand(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	var out, err bytes.Buffer
	if cmd.Stderr = &err; cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	failed := cmd.Run()
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		t.Fatalf("%s: %v", cmd, failed)
	}
	return Result{Out: out.String(), Err: err.String(), Code: cmd.ProcessState.ExitCode()}
}

// RunMeasured is Run, and also measures the peak resident memory and the user CPU time. GNU time starts the
// program, because a direct child would inherit the peak of this process (execve(2) keeps
// it).
func RunMeasured(t testing.TB, program string, args ...string) Result {
	t.Helper()
	return RunCommandMeasured(t, exec.Command(program, args...))
}

// RunCommandMeasured is RunMeasured for a prepared command. Output that the command
// already redirects is not in the Result.
func RunCommandMeasured(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	peak := filepath.Join(t.TempDir(), "peak")
	cmd.Path, cmd.Args = Tool(t, "time"), append([]string{"time", "-q", "-f", "%M %U", "-o", peak, cmd.Path}, cmd.Args[1:]...)
	r := RunCommand(t, cmd)
	measured, err := os.ReadFile(peak)
	if err == nil {
		_, err = fmt.Sscan(string(measured), &r.MaxRSS, &r.CPU)
	}
	if err != nil {
		t.Fatalf("%s: memory and time: %v", cmd, err)
	}
	r.MaxRSS *= 1024
	return r
}

// Must runs a command, fails the test unless it exits with 0, and returns its standard
// output.
func Must(t testing.TB, program string, args ...string) string {
	t.Helper()
	r := Run(t, program, args...)
	if r.Code != 0 {
		t.Fatalf("%s %s: exit %d\n%s%s", filepath.Base(program), strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r.Out
}

// Sign runs `imasign-build rootfs sign` on dir with the key in the directory keys.
func Sign(t testing.TB, keys, dir string, flags ...string) string {
	t.Helper()
	args := append([]string{"rootfs", "sign", "--progress=none", "--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt")}, flags...)
	return Must(t, Program(t), append(args, dir)...)
}

// Keys makes a key set with `imasign-build key init` and returns its directory.
func Keys(t testing.TB, algorithm string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), algorithm)
	Must(t, Program(t), "key", "init", "--algorithm", algorithm, dir)
	return dir
}

// CopyOfUsr copies files from this machine's /usr into dir until dir contains at least
// the given number of regular files, and at most 5% more. It returns their number. Hard
// links, symbolic links, owners and modes are kept.
func CopyOfUsr(t testing.TB, dir string, files int) int {
	t.Helper()
	have := 0
	for _, from := range []string{"/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/lib/" + multiarch(), "/usr/include", "/usr/lib/python3", "/usr/share", "/usr/lib"} {
		to := filepath.Join(dir, filepath.Dir(from))
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		Must(t, "cp", "-a", "--no-clobber", from, to)
		all := Files(t, dir)
		if have = len(all); have >= files {
			return have - surplus(t, all[files:])
		}
	}
	t.Fatalf("this machine's /usr has only %d files, %d are wanted", have, files)
	return 0
}

// surplus removes some of the surplus files and returns how many.
func surplus(t testing.TB, files []string) (removed int) {
	t.Helper()
	for _, file := range files {
		info, err := os.Lstat(file)
		if err != nil {
			t.Fatal(err)
		}
		// Keep all names of a hard link.
		if info.Sys().(*syscall.Stat_t).Nlink == 1 {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			removed++
		}
	}
	return removed
}

func multiarch() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux-gnu"
}

// Files lists the regular files below dir, as found by find(1).
func Files(t testing.TB, dir string) []string {
	t.Helper()
	return split(Must(t, "find", dir, "-type", "f", "-print0"))
}

// Inodes lists one name of each regular inode below dir.
func Inodes(t testing.TB, dir string) []string {
	t.Helper()
	met := map[string]bool{}
	var paths []string
	for _, line := range split(Must(t, "find", dir, "-type", "f", "-printf", `%i %p\0`)) {
		inode, path, _ := strings.Cut(line, " ")
		if !met[inode] {
			met[inode] = true
			paths = append(paths, path)
		}
	}
	return paths
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(list, "\x00"), "\x00")
}
