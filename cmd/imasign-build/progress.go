package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/signing"
)

// plainInterval is how often a log gets a line.
const plainInterval = 5 * time.Second

// progress renders the events of a run on standard error: warnings always, how
// far it is as a bar on a terminal or as plain lines in a log.
type progress struct {
	app    *app
	ticker *time.Ticker
	stop   chan struct{}

	mu     sync.Mutex
	tally  tally
	isBar  bool
	bars   *mpb.Progress // nil where none is shown just now
	bar    *mpb.Bar
	paused bool
	closed bool

	observer signing.Observer // takes the events of packages
}

// tally is what a run has done so far. Of several containers, packages and layers, some
// are still digested while others get their signatures.
type tally struct {
	verb               string // what is done first: "digested"
	done, bytes        int64
	attaching          bool
	attached, toAttach int64 // entries; toAttach is 0 where nobody knows
	attachedBytes      int64
	since              bool // something was digested after the first attaching
	restoring          bool
	restored           int64
	toRestore          int64
}

// newProgress starts rendering; close ends it.
func (a *app) newProgress() *progress {
	p := &progress{app: a, stop: make(chan struct{}), tally: tally{verb: "digested"}}
	p.observer = signing.NewObserver(p.take)
	format := a.progressFormat
	if format == "auto" {
		if format = "plain"; a.terminal(a.err) && !a.dumb() {
			format = "bar"
		}
	}
	switch format {
	case "bar":
		p.isBar = true
		p.show()
	case "plain":
		p.ticker = time.NewTicker(plainInterval)
		go p.printLines()
	}
	a.active.Store(p)
	return p
}

// dumb reports whether the terminal cannot move its cursor.
func (a *app) dumb() bool {
	name, set := a.getenv("TERM")
	return !set || name == "" || name == "dumb"
}

// show draws the bar; p.mu is held, or p is not shared yet.
func (p *progress) show() {
	bars := mpb.New(mpb.WithOutput(p.app.err), mpb.WithAutoRefresh())
	bar, err := bars.Add(0, mpb.BarFillerFunc(p.draw), mpb.BarRemoveOnComplete(), mpb.BarWidth(barWidth),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.String() })))
	if err == nil { // it is one of a Progress that has ended
		p.bars, p.bar = bars, bar
	}
}

// hide takes the bar off the terminal; p.mu is not held, as drawing takes it.
func (p *progress) hide() {
	p.mu.Lock()
	bars, bar := p.bars, p.bar
	p.bars, p.bar = nil, nil
	p.mu.Unlock()
	if bars != nil {
		bar.Abort(true)
		bars.Wait()
	}
}

// pause has nothing drawn or printed until resume: somebody is asked something.
func (p *progress) pause() (resume func()) {
	p.mu.Lock()
	p.paused = true
	p.mu.Unlock()
	p.hide()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.paused = false
		if p.isBar && !p.closed && p.bars == nil {
			p.show()
		}
	}
}

func (p *progress) printLines() {
	for {
		select {
		case <-p.ticker.C:
			p.mu.Lock()
			paused := p.paused
			p.mu.Unlock()
			if !paused {
				p.app.note("%s", p)
			}
		case <-p.stop:
			return
		}
	}
}

func (p *progress) close() {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return
	}
	p.app.active.CompareAndSwap(p, nil)
	close(p.stop)
	if p.ticker != nil {
		p.ticker.Stop()
	}
	p.hide()
}

func (p *progress) take(e signing.Event) {
	if e.Kind == signing.Warning {
		p.warn(e)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.take(e)
}

func (t *tally) take(e signing.Event) {
	switch e.Kind {
	case signing.Attaching:
		t.attaching = true
		t.toAttach += e.Entries
	case signing.Attached:
		t.attached += e.Entries
		t.attachedBytes += e.Bytes
	case signing.Restoring:
		t.restoring = true
		t.toRestore += e.Entries
	case signing.Restored:
		t.restored += e.Entries
	default:
		t.since = t.since || t.attaching
		t.done += e.Entries
		t.bytes += e.Bytes
	}
}

// enter names what is done first.
func (p *progress) enter(verb string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.verb = verb
}

// warn prints above the bar, where there is one.
func (p *progress) warn(e signing.Event) {
	if e.Path == "" {
		p.app.warn(e.Message)
		return
	}
	p.app.warnOfEach(e.Message, "%s %s", quote.Name(e.Path), e.Message)
}

// above is where text goes while the bar is drawn, nil where none is.
func (p *progress) above() io.Writer {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return nil
	}
	return p.bars
}

func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tally.String()
}

func (t *tally) String() string {
	digested := fmt.Sprintf("%s %s entries, %s", t.verb, report.Count(t.done), report.Size(t.bytes))
	switch {
	case t.restoring:
		return fmt.Sprintf("restored %s of %s entries", report.Count(t.restored), report.Count(t.toRestore))
	case !t.attaching:
		return digested
	}
	attached := fmt.Sprintf("attached %s of %s entries", report.Count(t.attached), report.Count(t.toAttach))
	if t.toAttach == 0 {
		attached = fmt.Sprintf("attached %s entries, %s", report.Count(t.attached), report.Size(t.attachedBytes))
	}
	if t.since {
		return digested + "; " + attached
	}
	return attached
}

// barWidth is that of the bar alone, in columns.
const barWidth = 24

// draw draws a bar where it is known how much there is to do, in ASCII, and nothing
// elsewhere.
func (p *progress) draw(w io.Writer, _ decor.Statistics) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := quote.Fprintf(w, "%s", p.tally.bar())
	return err
}

func (t *tally) bar() string {
	done, total := t.attached, t.toAttach
	if t.restoring {
		done, total = t.restored, t.toRestore
	}
	if total == 0 || t.since && !t.restoring {
		return ""
	}
	inner := barWidth - 3
	full := int(min(done, total) * int64(inner) / total)
	return " [" + strings.Repeat("=", full) + strings.Repeat(" ", inner-full) + "]"
}
