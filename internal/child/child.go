// Package child runs external programs without leaking descriptors to them, and ends them
// with this process.
//
// A program that [Run] starts has three descriptors: /dev/null to read from, and a log file
// for its output, and those that it is given. It does not get descriptors that this process
// inherited, such as the passphrase behind fd:9. The program ends with this process, however this process ends. A
// shell between the two reaps it. Programs that it starts may continue: they keep the lock on
// the log file, and [Wait] returns when the last of them has ended.
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

// Command is a program to run.
type Command struct {
	Program string
	Args    []string
	// Dir is the working directory of the program, but not of Program and Log; "" means
	// that of this process.
	Dir string
	// Environment is a list of "NAME=value". nil means that of this process.
	Environment []string
	// Files are open files that the program gets too, from descriptor 3 on.
	Files []*os.File
	// Log is the path of the file for the program's output. The file is created or
	// overwritten. It is locked until the program and all programs that it started have
	// closed it.
	Log string
}

// maxSaid is how many bytes from the end of a program's output become part of an error.
const maxSaid = 8 << 10

// supervise is a shell script that runs a program. When its parent ends or terminates it, it
// kills the program, asks the programs that it started to end, and waits. Without it the
// program would be killed too, but could stay a zombie if init reaps late, and would be
// reported dead too early.
const supervise = `trap 'trap "" TERM; kill -KILL $!; kill -TERM 0; wait' TERM
"$@" &
wait $!`

// patience is the time that the supervising shell has to end.
const patience = 10 * time.Second

// Run runs a program and waits until it ends. If the program fails, the error contains the
// last lines of its output. If ctx ends, the program is killed, the programs that it started
// are asked to end, and the error is the cause of ctx.
func Run(ctx context.Context, c Command) error {
	program, err := exec.LookPath(c.Program)
	if err != nil {
		return err
	}
	log, err := openLog(c.Log)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // its output was read already
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", supervise, "sh", program}, c.Args...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.Dir, c.Environment, log, log, c.Files
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

// RunAlone runs a command that gets only the descriptors that cmd names. It runs the command
// from a locked thread, because the kernel sends the parent's death signal (Pdeathsig) when
// the thread that started the program ends.
func RunAlone(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("close its other descriptors: %w", err)
	}
	return cmd.Run()
}

// closeOnExec marks every descriptor except the standard ones as close-on-exec. Go does that
// for the descriptors that it opens, but others were inherited or opened by a C library.
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

// openLog creates and locks the log. The lock belongs to the open file, which the program
// shares.
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

// unlockable reports whether an error of flock means that the file system, such as NFS, cannot
// lock the file.
func unlockable(err error) bool {
	return errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// said returns the last lines of a program's output.
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

// Wait returns when all programs that were started with this log have ended. It calls waiting
// once if it has to wait. If the log does not exist, it returns at once.
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
