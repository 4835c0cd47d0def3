package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/signing"
)

// plainInterval is how often a log gets a line.
const plainInterval = 5 * time.Second

// progress renders the events of a run on standard error: warnings always, how
// far it is as a bar on a terminal or as plain lines in a log.
type progress struct {
	app    *app
	phase  atomic.Pointer[string]
	done   atomic.Int64 // entries of the phase
	total  atomic.Int64 // entries of the phase, 0 where nobody knows
	bytes  atomic.Int64
	bars   *mpb.Progress
	bar    *mpb.Bar
	ticker *time.Ticker
	stop   chan struct{}
	closed bool

	observer signing.Observer // takes the events of packages
}

// newProgress starts rendering; close ends it.
func (a *app) newProgress() *progress {
	p := &progress{app: a, stop: make(chan struct{})}
	p.observer = signing.NewObserver(p.take)
	p.enter("digested", 0)
	format := a.progressFormat
	if format == "auto" {
		if format = "plain"; a.terminal(a.err) {
			format = "bar"
		}
	}
	switch format {
	case "bar":
		p.bars = mpb.New(mpb.WithOutput(a.err), mpb.WithAutoRefresh())
		p.bar = p.bars.AddSpinner(0, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + p.String() })))
	case "plain":
		p.ticker = time.NewTicker(plainInterval)
		go p.printLines()
	}
	return p
}

func (p *progress) printLines() {
	for {
		select {
		case <-p.ticker.C:
			p.app.note("%s", p)
		case <-p.stop:
			return
		}
	}
}

func (p *progress) close() {
	if p.closed {
		return
	}
	p.closed = true
	close(p.stop)
	if p.ticker != nil {
		p.ticker.Stop()
	}
	if p.bars != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}

func (p *progress) take(e signing.Event) {
	switch e.Kind {
	case signing.Attaching:
		p.enter("attached", e.Entries)
	case signing.Restoring:
		p.enter("restored", e.Entries)
	case signing.Warning:
		p.warn(e)
	default:
		p.done.Add(e.Entries)
		p.bytes.Add(e.Bytes)
	}
}

func (p *progress) enter(phase string, total int64) {
	p.phase.Store(&phase)
	p.total.Store(total)
	p.done.Store(0)
}

// warn prints above the bar, where there is one.
func (p *progress) warn(e signing.Event) {
	out := p.app.err
	if p.bars != nil && !p.closed {
		out = io.Writer(p.bars)
	}
	if e.Path == "" {
		quote.Fprintf(out, "imasign-build: warning: %s\n", e.Message)
		return
	}
	p.app.warnOfEach(out, e.Message, "%s %s", printable(e.Path), e.Message)
}

func (p *progress) String() string {
	phase, done := *p.phase.Load(), p.done.Load()
	if total := p.total.Load(); total > 0 {
		return fmt.Sprintf("%s %s of %s entries", phase, count(done), count(total))
	}
	return fmt.Sprintf("%s %s entries, %s", phase, count(done), size(p.bytes.Load()))
}
