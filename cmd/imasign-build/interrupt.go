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

// errInterrupted is the cause of a context that a signal cancelled.
var errInterrupted = errors.New("interrupted")

// interrupts turns signals into a cancelled context, and ends the process where that
// is not enough. While a container is being changed the first signal is ignored,
// because finishing is what leaves it whole, and the second one has everything
// restored. Any further signal ends the process, whatever hangs: a pipe that nobody
// reads, a module of a token, a file system.
type interrupts struct {
	signals chan os.Signal
	cancel  context.CancelCauseFunc
	note    func(string, ...any)
	end     func() // of the process, after grace

	mu       sync.Mutex
	phase    interruptPhase
	ignored  bool // a signal came while attaching
	insisted bool // a signal has been acted upon, or came too late to be
}

type interruptPhase int

const (
	planning  interruptPhase = iota // a signal cancels
	attaching                       // a signal is ignored, the next one cancels
	attached                        // signals come too late
)

// grace is what cleaning up may take once the process is told to end. One Ctrl-C can
// come as two signals, from the terminal and from sudo.
const grace = 500 * time.Millisecond

// patience is after how long somebody is told that one signal was not enough.
const patience = 3 * time.Second

func watchInterrupts(cancel context.CancelCauseFunc, note func(string, ...any), end func()) *interrupts {
	// Room for several, or the second of two quick ones is lost.
	i := &interrupts{signals: make(chan os.Signal, 8), cancel: cancel, note: note, end: end}
	// A closed pipe is an error of that write. Left alone the signal would end the
	// program between two files: in `… 2>&1 | tee log`, Ctrl-C ends tee as well.
	// Taken rather than ignored: programs that are started would ignore it too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // by nohup, or a shell that started this in the background
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

// take acts upon a signal. It writes nothing by itself: standard error may be what
// hangs.
func (i *interrupts) take() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.insisted, i.phase == attached && i.ignored:
		time.AfterFunc(grace, i.end)
	case i.phase == attaching && !i.ignored:
		i.ignored = true
		go i.note("attaching is under way and will be finished; interrupt again to have it undone")
	case i.phase == attached: // the report is all that is left
		i.insisted = true
	default:
		i.insisted = true
		i.cancel(errInterrupted)
		time.AfterFunc(patience, func() { i.note("interrupted, but something is still blocking; interrupt again to end at once") })
	}
}

// Hold says that from here on the first signal is ignored: a container is changed.
func (i *interrupts) Hold() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = attaching
}

// Release says that the change is finished or undone, and reports whether a signal was
// ignored meanwhile.
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
