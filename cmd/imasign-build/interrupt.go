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

	mu        sync.Mutex
	attaching bool
}

func watchInterrupts(cancel context.CancelCauseFunc, note func(string, ...any)) *interrupts {
	i := &interrupts{signals: make(chan os.Signal, 1), cancel: cancel, note: note}
	signal.Notify(i.signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
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
	if i.attaching {
		i.attaching = false
		i.note("attaching is under way and will be finished; interrupt again to have it undone")
		return
	}
	i.cancel(errInterrupted)
}

// attach says that from here on the first signal is ignored.
func (i *interrupts) attach() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.attaching = true
}

func (i *interrupts) close() {
	signal.Stop(i.signals)
	close(i.signals)
}
