package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// errInterrupted is the cause of a context that was cancelled by a signal.
var errInterrupted = errors.New("interrupted")

// interrupts cancels a context when a signal comes. While a container is being changed,
// the first signal is ignored, because finishing leaves the container whole; the second
// restores everything. Any further signal ends the process, even if a pipe that nobody
// reads, a PKCS#11 module or a file system hangs.
type interrupts struct {
	signals chan os.Signal
	cancel  context.CancelCauseFunc
	note    func(string, ...any)
	end     func() // ends the process; called after grace

	mu       sync.Mutex
	phase    interruptPhase
	ignored  bool // a signal came while attaching
	insisted bool // a signal cancelled, or came too late for that
}

type interruptPhase int

const (
	planning  interruptPhase = iota // a signal cancels
	attaching                       // a signal is ignored, the next one cancels
	attached                        // signals come too late
	serving                         // a signal cancels; what follows may take long
)

// grace is the time for cleaning up before the process ends. One Ctrl-C may arrive as two
// signals: from the terminal and from sudo.
const grace = 500 * time.Millisecond

// patience is the time after which a note says that one signal was not enough.
const patience = 3 * time.Second

func watchInterrupts(cancel context.CancelCauseFunc, note func(string, ...any), end func()) *interrupts {
	// With room for several, the second of two quick signals is not lost.
	i := &interrupts{signals: make(chan os.Signal, 8), cancel: cancel, note: note, end: end}
	// Writing to a closed pipe is an error of that write. Without a handler, SIGPIPE would
	// end the program between two files: in `… 2>&1 | tee log`, Ctrl-C ends tee as well.
	// The signal is handled, not ignored, because child processes would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // nohup ignores SIGHUP; shells ignore SIGINT for background jobs
			signal.Notify(i.signals, s)
		}
	}
	go func() {
		for range i.signals {
			i.take()
		}
	}()
	return i
}

// take handles a signal. It starts goroutines for notes, because writing to standard error
// may hang.
func (i *interrupts) take() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.insisted, i.phase == attached && i.ignored:
		time.AfterFunc(grace, i.end)
	case i.phase == attaching && !i.ignored:
		i.ignored = true
		go i.note("attaching has begun and will be finished; interrupt again to undo it")
	case i.phase == attached: // only the report is left
		i.insisted = true
	default:
		i.insisted = true
		i.cancel(errInterrupted)
		if i.phase == serving {
			return
		}
		time.AfterFunc(patience, func() { i.note("interrupted, but something is still blocking; interrupt again to end at once") })
	}
}

// Hold makes the next signal be ignored: a container is about to be changed.
func (i *interrupts) Hold() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = attaching
}

// Release ends Hold after the change was finished or undone. It reports whether a signal
// was ignored.
func (i *interrupts) Release() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = attached
	return i.ignored
}

func (i *interrupts) close() {
	signal.Stop(i.signals)
	close(i.signals)
}
