package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/signing"
)

const (
	// appearsAfter is how long nothing is drawn: work that ends sooner needs no progress.
	appearsAfter = 500 * time.Millisecond
	// frame is how often the line on a terminal may change.
	frame = 200 * time.Millisecond
	// plainInterval is how often a log gets a line.
	plainInterval = 5 * time.Second
	// countAfter is how long a run must last before a tree is walked for its totals. The
	// walk costs 1% of signing with P-256, which a run that ends soon need not pay.
	countAfter = 2 * time.Second
	// margin keeps the columns free in which a terminal shows the "^C" of an interrupt.
	margin = 3
)

// progress renders the events of a run on standard error: warnings always, how far it is
// as one line on a terminal or as plain lines in a log.
type progress struct {
	app      *app
	format   string           // "bar", "plain" or "none"
	observer signing.Observer // takes the events of packages
	stop     chan struct{}
	stopped  sync.WaitGroup // rendering, and counting

	mu      sync.Mutex
	tally   tally
	counter func() (amount, error) // counts a tree, later; nil for none
	visible time.Time              // when the line may appear
	paused  int                    // prompts on the terminal
	closed  bool

	// Of the goroutine that renders:
	verb, unit string // of the step that left is about
	left       estimate
}

// newProgress starts rendering; close ends it.
func (a *app) newProgress() *progress {
	p := &progress{app: a, format: a.progressFormat, stop: make(chan struct{}), tally: tally{verb: "digested", noun: "entries"}, visible: time.Now().Add(appearsAfter)}
	p.observer = signing.NewObserver(p.take)
	if p.format == "auto" {
		if p.format = "plain"; a.terminal(a.err) && !a.dumb() {
			p.format = "bar"
		}
	}
	if a.quiet {
		p.format = "none"
	}
	if p.format != "none" {
		p.stopped.Go(p.render)
	}
	a.active.Store(p)
	return p
}

// dumb reports whether the terminal cannot move its cursor.
func (a *app) dumb() bool {
	name, set := a.getenv("TERM")
	return !set || name == "" || name == "dumb"
}

// render draws the line, or prints lines, until stop is closed.
func (p *progress) render() {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	began := time.Now()
	for printed := began; ; {
		select {
		case <-ticker.C:
		case <-p.stop:
			return
		}
		now := time.Now()
		if now.Sub(began) >= countAfter {
			p.startCounting()
		}
		text, line := p.look(now)
		switch {
		case p.format == "plain" && now.Sub(printed) >= plainInterval:
			if printed = now; text != "" {
				p.app.note("%s", text)
			}
		case p.format == "bar" && text != "":
			p.app.screen.draw(p.app.err, line)
		}
	}
}

// look returns what there is to show now, whole and as wide as the terminal; "" while
// nothing may be shown.
func (p *progress) look(now time.Time) (text, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused > 0 {
		p.left, p.tally.recent = estimate{}, nil // nothing is known of the time that an answer takes
		return "", ""
	}
	t := &p.tally
	if t.step.verb != p.verb || t.unit != p.unit {
		p.verb, p.unit, p.left = t.step.verb, t.unit, estimate{}
	}
	share, known := t.share()
	if known {
		p.left.add(now, share)
	} else {
		p.left = estimate{}
	}
	if t.left, _ = p.left.left(); t.where != "" { // there are other layers
		t.left = 0
	}
	t.sample(now)
	t = t.signing()
	if now.Before(p.visible) {
		return "", ""
	}
	if p.format == "bar" {
		if width := p.app.width(p.app.err); width > margin {
			line = t.line(width - margin)
		}
	}
	return t.String(), line
}

// pause stops progress while somebody is asked something, until resume.
func (p *progress) pause() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused++
	early := time.Now().Before(p.visible)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.paused--; early { // the time of the answer is not the work's
			p.visible = time.Now().Add(appearsAfter)
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
	p.stopped.Wait()
	p.app.screen.erase(p.app.err)
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

// warn prints a warning above the line.
func (p *progress) warn(e signing.Event) {
	if e.Path == "" {
		p.app.warn(e.Message)
		return
	}
	p.app.warnOfEach(e.Message, "%s %s", quote.Name(e.Path), e.Message)
}

// entries names what is done to entries before anything is attached, and says whether the
// content of all of them is read.
func (p *progress) entries(verb string, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.verb, p.tally.partly = verb, !whole
}

// archives says that the entries go into a new archive, and whether the content of all of
// them is digested before.
func (p *progress) archives(whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.archive, p.tally.partly = true, !whole
}

// begin starts a step of the command's own: of units such as packages, which advance
// counts, or of no unit that anybody counts ("").
func (p *progress) begin(verb, unit string, total amount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.apart, p.tally.step = true, step{verb: verb, unit: unit, total: total}
	p.tally.restart()
}

// advance counts one unit of such a step.
func (p *progress) advance(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.done.items++
	p.tally.done.bytes += bytes
}

// layer starts the nth of several layers. Signatures are counted over all layers, because some
// layers wait for theirs at the same time.
func (p *progress) layer(n, layers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.where, p.tally.step = fmt.Sprintf("layer %s of %s", report.Count(n), report.Count(layers)), step{}
	p.tally.begun, p.tally.layers = int64(n), int64(layers)
}

// packages starts a step of package files, and returns what counts one of them, by its
// path.
func (p *progress) packages(verb string, files []rpmfiles.Unit) (done func(path string)) {
	sizes, total := map[string]int64{}, amount{items: int64(len(files))}
	for _, u := range files {
		if info, err := os.Stat(u.Path); err == nil { // else the run itself says so
			sizes[u.Path] = info.Size()
			total.bytes += info.Size()
		}
	}
	p.begin(verb, "packages", total)
	return func(path string) { p.advance(sizes[path]) }
}

// repository starts a step that compares packages with metadata; events count them.
func (p *progress) repository() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.verb, p.tally.noun, p.tally.step = "compared", "packages", step{verb: "reading the metadata"}
}
