// Package child runs the programs of others so that nothing of this process
// leaks into them and nothing of them outlives it.
//
// A program that [Run] starts has three descriptors: /dev/null to read from, and
// a file for what it prints. Descriptors that this process inherited, such as the
// passphrase behind fd:9, are closed to it. It ends with this process, however
// that one ends, and a shell between the two reaps it. What it starts itself may live
// on; the lock on its output file tells: [Wait] returns when the last of them is gone.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/quote"
)

// Command is what to run.
type Command struct {
	Program string
	Args    []string
	// Environment is "NAME=value"; nil stands for the caller's own.
	Environment []string
	// Log is the file that gets what the program prints. It is made, overwritten,
	// and locked for as long as anything that the program started has it open.
	Log string
}

// maxSaid is how much of what a program printed becomes part of an error, from
// its end.
const maxSaid = 8 << 10

// supervise runs a program. When its own parent ends, or asks it to, it kills the
// program and waits for its end; what that one started is asked to end. Without it the
// program would be killed as well, but stay a zombie where init reaps late, and be
// reported dead before it is.
const supervise = `trap 'trap "" TERM; kill -KILL $!; kill -TERM 0; wait' TERM
"$@" &
wait $!`

// patience is how long the supervisor may take to end.
const patience = 10 * time.Second

// Run runs a program to its end. Its error has the last lines that the program
// printed; when ctx ends, the program is killed, what it started is asked to end, and
// the error is ctx's cause.
func Run(ctx context.Context, c Command) error {
	program, err := exec.LookPath(c.Program)
	if err != nil {
		return err
	}
	log, err := openLog(c.Log)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // what matters of it is read
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", supervise, "sh", program}, c.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.Environment, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	if err := RunAlone(cmd); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return quote.Below(fmt.Errorf("%s: %w", c.Program, err), said(log)...)
	}
	return nil
}

// RunAlone runs a command that gets no descriptor but those that it names. It is started
// from a thread that stays: the kernel sends the parent's death signal (Pdeathsig)
// when the thread that started the program ends.
func RunAlone(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("keep descriptors from it: %w", err)
	}
	return cmd.Run()
}

// closeOnExec marks every descriptor but the standard ones. Go does that to its own;
// others were inherited, or opened by a C library.
func closeOnExec() error {
	const first = 3
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil || !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	// Before Linux 5.11, or behind an old seccomp filter.
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range list {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// openLog makes and locks the log. Its lock belongs to the open file, which the
// program shares.
func openLog(path string) (*os.File, error) {
	log, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(log.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && !unlockable(err) {
		_ = log.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := log.Truncate(0); err != nil {
		_ = log.Close()
		return nil, err
	}
	return log, nil
}

// unlockable reports whether an error of flock says that this file system has no
// locks for such a file, as NFS.
func unlockable(err error) bool {
	return errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// said returns the end of what a program printed, on lines of its own.
func said(log *os.File) []string {
	info, err := log.Stat()
	if err != nil {
		return nil
	}
	at := max(0, info.Size()-maxSaid)
	text, err := io.ReadAll(io.NewSectionReader(log, at, maxSaid))
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// Wait returns when nothing that was started with this log runs any more. waiting is
// called once if it has to wait. A log that is not there has nobody.
func Wait(ctx context.Context, log string, waiting func()) error {
	f, err := os.OpenFile(log, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for its lock
	const interval = 50 * time.Millisecond
	for first := true; ; first = false {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil || unlockable(err):
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", filepath.Clean(log), err)
		case first:
			waiting()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}
