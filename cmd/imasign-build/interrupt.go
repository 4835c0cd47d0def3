package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errInterrupted is the cause of a context that a signal cancelled.
var errInterrupted = errors.New("interrupted")

// interrupts turns signals into a cancelled context. While a container is being
// changed the first signal is ignored, because finishing is what leaves it whole;
// the second one has everything restored.
type interrupts struct {
	signals chan os.Signal
	cancel  context.CancelCauseFunc
	note    func(string, ...any)

	mu      sync.Mutex
	phase   interruptPhase
	ignored bool // a signal came while attaching
}

type interruptPhase int

const (
	planning  interruptPhase = iota // a signal cancels
	attaching                       // a signal is ignored, the next one cancels
	attached                        // signals come too late
)

func watchInterrupts(cancel context.CancelCauseFunc, note func(string, ...any)) *interrupts {
	// Room for several, or the second of two quick ones is lost.
	i := &interrupts{signals: make(chan os.Signal, 8), cancel: cancel, note: note}
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

func (i *interrupts) take() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.phase == planning:
		i.cancel(errInterrupted)
	case i.phase == attaching && !i.ignored:
		i.ignored = true
		i.note("attaching is under way and will be finished; interrupt again to have it undone")
	case i.phase == attaching:
		i.cancel(errInterrupted)
	}
}

// attach says that from here on the first signal is ignored.
func (i *interrupts) attach() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = attaching
}

// attached says that everything is attached, and reports whether a signal was
// ignored meanwhile.
func (i *interrupts) attached() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = attached
	return i.ignored
}

func (i *interrupts) close() {
	signal.Stop(i.signals)
	close(i.signals)
}
