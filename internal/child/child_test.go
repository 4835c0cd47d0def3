package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const parentLog = "CHILD_TEST_LOG"

// TestMain also runs the parent process that a test kills.
func TestMain(m *testing.M) {
	if log := os.Getenv(parentLog); log != "" {
		script := "echo $$ > " + log + ".pid; exec sleep 100"
		if os.Getenv("CHILD_TEST_FORKS") != "" {
			script = "trap '' TERM; sleep 100 & echo $! > " + log + ".pid; wait"
		}
		err := Run(context.Background(), Command{Program: "sh", Args: []string{"-c", script}, Log: log})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls, because the kernel needs some time to end a process.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}

// TestDescriptors checks that the program does not get an open, inheritable descriptor.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	check(t, os.WriteFile(secret, []byte("pass"), 0o600))
	fd, err := syscall.Open(secret, syscall.O_RDONLY, 0) // without O_CLOEXEC
	check(t, err)
	defer syscall.Close(fd)
	check(t, Run(t.Context(), Command{Program: "sh", Args: []string{"-c", "ls -l /proc/$$/fd > " + dir + "/fds"}, Log: filepath.Join(dir, "log")}))
	list, err := os.ReadFile(filepath.Join(dir, "fds"))
	check(t, err)
	if strings.Contains(string(list), secret) || !strings.Contains(string(list), "/log") {
		t.Errorf("the program has\n%s", list)
	}
}

// TestDiesWithParent checks that the program ends when its parent is killed, and that Wait
// waits for a program that it started and that continues.
func TestDiesWithParent(t *testing.T) {
	for _, forks := range []string{"", "1"} {
		log := filepath.Join(t.TempDir(), "log")
		parent := exec.Command("/proc/self/exe")
		parent.Env = append(os.Environ(), parentLog+"="+log, "CHILD_TEST_FORKS="+forks)
		check(t, parent.Start())
		var pid int
		eventually(t, "the program does not start", func() bool {
			text, _ := os.ReadFile(log + ".pid")
			_, err := fmt.Sscan(string(text), &pid)
			return err == nil
		})
		check(t, parent.Process.Kill())
		_ = parent.Wait() // killed
		if forks == "" {
			eventually(t, "the program outlives its parent, if only as a zombie", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		waited := false
		err := Wait(ctx, log, func() {
			if waited = true; forks != "" {
				cancel(errEnough)
			}
		})
		switch {
		case forks == "":
			check(t, err)
		case !waited || !errors.Is(err, errEnough):
			t.Errorf("waited %t: %v", waited, err)
		default:
			check(t, syscall.Kill(pid, syscall.SIGKILL))
			check(t, Wait(t.Context(), log, func() {}))
		}
		cancel(nil)
	}
}

var errEnough = errors.New("enough")

// TestErrors checks that the error contains the program's output, and that the end of the
// context ends the program and the programs that it started.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	err := Run(t.Context(), Command{Program: "sh", Args: []string{"-c", "echo no room; exit 7"}, Log: log})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
	if err := Run(t.Context(), Command{Program: filepath.Join(dir, "none"), Log: log}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		eventually(t, "the program does not start", func() bool { _, err := os.Stat(dir + "/at"); return err == nil })
		cancel(errEnough)
	}()
	err = Run(ctx, Command{Program: "sh", Args: []string{"-c", "sleep 100 & touch " + dir + "/at; wait"}, Log: log})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
	check(t, Wait(t.Context(), log, func() {}))
	if err := Wait(t.Context(), filepath.Join(dir, "none"), func() {}); err != nil {
		t.Error(err)
	}
}

// TestLocked checks that a log that another program still writes to is refused.
func TestLocked(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	f, err := openLog(log)
	check(t, err)
	defer f.Close()
	if err := Run(t.Context(), Command{Program: "true", Log: log}); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Error(err)
	}
}

func TestDirectoryAndFiles(t *testing.T) {
	dir := t.TempDir()
	given, err := os.Create(filepath.Join(dir, "given"))
	check(t, err)
	defer given.Close()
	check(t, Run(t.Context(), Command{
		Program: "sh", Args: []string{"-c", "pwd; echo written >/proc/self/fd/3"}, Dir: "/", Files: []*os.File{given}, Log: filepath.Join(dir, "log"),
	}))
	for name, want := range map[string]string{"log": "/\n", "given": "written\n"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != want {
			t.Errorf("%s has %q, %v", name, text, err)
		}
	}
}
