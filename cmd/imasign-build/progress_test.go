package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/signing"
)

// tty is standard error as a terminal sees it.
type tty struct {
	mu    sync.Mutex
	text  bytes.Buffer
	width int
}

func (t *tty) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

// take returns what was written since the last call.
func (t *tty) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.text.Reset()
	return t.text.String()
}

func (t *tty) columns() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.width
}

func (t *tty) resize(width int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.width = width
}

// onTTY returns a progress with the terminal that it draws on.
func onTTY(format string) (*progress, *tty) {
	t := &tty{width: 80}
	a := newTestApp(nil)
	a.err, a.progressFormat, a.width = t, format, func(io.Writer) int { return t.columns() }
	return a.newProgress(), t
}

func line(text string) string { return "\r" + text + "\x1b[K" }

// wait lets the fake clock run.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestShortRunsAreSilent checks that nothing, not even an escape sequence, is written for
// work that ends within half a second.
func TestShortRunsAreSilent(t *testing.T) {
	for _, format := range []string{"bar", "plain"} {
		synctest.Test(t, func(t *testing.T) {
			p, screen := onTTY(format)
			p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 5})
			wait(appearsAfter - time.Millisecond)
			p.close()
			if said := screen.take(); said != "" {
				t.Errorf("%s: %q", format, said)
			}
		})
	}
}

func TestLineOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		p.observer.Tell(signing.Event{Kind: signing.Listed, Entries: 200, Bytes: 2000})
		p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 50, Bytes: 500})
		wait(appearsAfter + frame)
		if said, want := screen.take(), line("[===            ] digested 50 of 200 entries, 0.5 of 2.0 kB"); said != want {
			t.Errorf("%q, want %q", said, want)
		}
		wait(10 * frame)
		if said := screen.take(); said != "" {
			t.Errorf("the same line was drawn again: %q", said)
		}
		p.observer.Warn("file", "is odd")
		if said, want := screen.take(), "\r\x1b[Kimasign-build: warning: file is odd\n[===            ] digested 50 of 200 entries, 0.5 of 2.0 kB"; said != want {
			t.Errorf("%q, want %q", said, want)
		}
		p.close()
		p.close()
		if said := screen.take(); said != "\r\x1b[K" {
			t.Errorf("at the end: %q", said)
		}
	})
}

func TestLinesInALog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := onTTY("plain")
		wait(plainInterval - time.Millisecond)
		if said := log.take(); said != "" {
			t.Errorf("early: %q", said)
		}
		p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 1000, Bytes: 500})
		wait(plainInterval)
		if said := log.take(); said != "imasign-build: digested 1,000 entries, 500 bytes\n" {
			t.Errorf("%q", said)
		}
		p.close()
		if said := log.take(); said != "" {
			t.Errorf("at the end: %q", said)
		}
	})
}

// TestNothingIsWrittenOverAPrompt checks that neither the line nor warnings of other
// goroutines disturb a prompt, and that both come afterwards.
func TestNothingIsWrittenOverAPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		ctx, stop := context.WithCancel(t.Context())
		var others sync.WaitGroup
		others.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 1})
				if n == 100 {
					p.observer.Warn("file", "is odd")
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		wait(appearsAfter + frame + time.Millisecond)
		if said := screen.take(); !strings.HasPrefix(said, "\rdigested ") {
			t.Errorf("no line: %q", said)
		}
		answered := p.app.prompting()
		if said := screen.take(); said != "\r\x1b[K" {
			t.Errorf("the line was not taken away: %q", said)
		}
		wait(time.Minute)
		if said := screen.take(); said != "" {
			t.Errorf("over the prompt: %q", said)
		}
		answered()
		wait(frame)
		if said := screen.take(); !strings.HasPrefix(said, "imasign-build: warning: file is odd\n\rdigested ") {
			t.Errorf("after the answer: %q", said)
		}
		stop()
		others.Wait()
		p.close()
	})
}

// TestAnswersAreNoWork checks that the time that somebody takes to answer does not make a
// line appear for short work, and is not part of a rate.
func TestAnswersAreNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		answered := p.app.prompting()
		wait(time.Minute)
		answered()
		wait(appearsAfter - time.Millisecond)
		if said := screen.take(); said != "" {
			t.Errorf("too early: %q", said)
		}
		p.observer.Tell(signing.Event{Kind: signing.Listed, Entries: 100})
		for range 10 {
			p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 1})
			wait(time.Second)
		}
		answered = p.app.prompting()
		wait(time.Minute)
		answered()
		screen.take()
		wait(time.Second)
		if said := screen.take(); said == "" || strings.Contains(said, "left") {
			t.Errorf("an estimate from the time of an answer: %q", said)
		}
		p.close()
	})
}

// TestTwoPrompts checks that the terminal stays free up to the last answer, as for the
// pinentries of two gpg processes.
func TestTwoPrompts(t *testing.T) {
	p, screen := onTTY("none")
	defer p.close()
	first, second := p.app.prompting(), p.app.prompting()
	p.observer.Warn("file", "is odd")
	first()
	p.app.screen.draw(screen, "line")
	if said := screen.take(); said != "" {
		t.Errorf("over the second prompt: %q", said)
	}
	second()
	if said := screen.take(); said != "imasign-build: warning: file is odd\n" {
		t.Errorf("after both: %q", said)
	}
}

func TestTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		p.observer.Tell(signing.Event{Kind: signing.Listed, Entries: 1000})
		left := func() string {
			said := screen.take()
			_, text, _ := strings.Cut(said[strings.LastIndex(said, "\r")+1:], "entries")
			return strings.TrimPrefix(strings.TrimSuffix(text, "\x1b[K"), ", ")
		}
		run := func(seconds, each int) {
			for range 10 * seconds {
				p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: int64(each)})
				wait(100 * time.Millisecond)
			}
		}
		run(2, 1)
		if got := left(); got != "" {
			t.Errorf("after 2 s: %q", got)
		}
		run(8, 1)
		if got := left(); got != "1:30 left" {
			t.Errorf("after 10 s: %q", got)
		}
		run(12, 5)
		if got := left(); got != "0:06 left" {
			t.Errorf("the recent rate does not count: %q", got)
		}
		run(6, 5)
		if got := left(); got != "" { // all is done, and something still runs
			t.Errorf("at the end: %q", got)
		}
		p.observer.Tell(signing.Event{Kind: signing.Listed, Entries: 1000})
		run(5, 1)
		wait(leftStalled)
		if got := left(); got != "" {
			t.Errorf("nothing moves: %q", got)
		}
		p.observer.Tell(signing.Event{Kind: signing.Attaching, Entries: 10})
		wait(10 * time.Second)
		if got := left(); got != "" {
			t.Errorf("nothing was attached: %q", got)
		}
		p.close()
	})
}

// TestTimeLeftIsNeverZero checks the last moments of a step: rounded up, and not for long.
func TestTimeLeftIsNeverZero(t *testing.T) {
	var e estimate
	now, shown := time.Now(), 0
	for i := range 100 {
		e.add(now.Add(time.Duration(i)*time.Second), min(float64(i)*0.1, 0.9999))
		if left, known := e.left(); known {
			if clock(left) == "0:00" {
				t.Errorf("%d s: %v", i, left)
			}
			shown++
		}
	}
	if shown == 0 || shown > 15 {
		t.Errorf("shown for %d s", shown)
	}
	for d, want := range map[time.Duration]string{1: "0:01", time.Minute: "1:00", 59*time.Minute + 59*time.Second + 1: "1:00:00", 26 * time.Hour: "26:00:00"} {
		if got := clock(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestSteps(t *testing.T) {
	listed := signing.Event{Kind: signing.Listed, Entries: 309, Bytes: 2e9}
	for _, c := range []struct {
		tally  tally
		events []signing.Event
		want   string
	}{
		{tally{}, nil, ""},
		{tally{}, []signing.Event{{Kind: signing.Planned}}, "digested 0 entries, 0 bytes"},
		{tally{}, []signing.Event{{Kind: signing.Planned, Entries: 1, Bytes: 2000}}, "digested 1 entries, 2.0 kB"},
		{tally{}, []signing.Event{listed, {Kind: signing.Planned, Entries: 300, Bytes: 12e8}}, "digested 300 of 309 entries, 1.2 of 2.0 GB"},
		{tally{}, []signing.Event{listed, {Kind: signing.Planned, Entries: 310, Bytes: 3e9}}, "digested 310 entries, 3.0 GB"},
		{tally{partly: true}, []signing.Event{listed, {Kind: signing.Planned, Entries: 300, Bytes: 12e8}}, "digested 300 of 309 entries, 1.2 GB"},
		{tally{counted: amount{500, 1e6}}, []signing.Event{{Kind: signing.Checked, Entries: 2}}, "digested 2 of 500 entries, 0.0 of 1.0 MB"},
		{tally{}, []signing.Event{listed, {Kind: signing.Planned, Entries: 309}, {Kind: signing.Attaching, Entries: 300}, {Kind: signing.Attached, Entries: 75}}, "attached 75 of 300 entries"},
		{tally{archive: true, counted: amount{20, 5000}}, []signing.Event{{Kind: signing.Attaching}, {Kind: signing.Attached, Entries: 3, Bytes: 5}}, "archived 3 of 20 entries, 0.0 of 5.0 kB"},
		{tally{where: "layer 2 of 5"}, nil, "layer 2 of 5"},
		{tally{where: "layer 2 of 5"}, []signing.Event{listed}, "layer 2 of 5: digested 0 of 309 entries, 0.0 of 2.0 GB"},
		{tally{}, []signing.Event{
			{Kind: signing.Attaching, Entries: 9}, {Kind: signing.Attached, Entries: 4}, {Kind: signing.Restoring, Entries: 4}, {Kind: signing.Restored, Entries: 3},
		}, "restored 3 of 4 entries"},
	} {
		c.tally.verb, c.tally.noun = "digested", "entries"
		for _, e := range c.events {
			c.tally.take(e)
		}
		if got := c.tally.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestPackagesAreCounted checks that events of a package's files do not count then.
func TestPackagesAreCounted(t *testing.T) {
	dir := t.TempDir()
	var units []rpmfiles.Unit
	for i, size := range []int{100, 900} {
		file := filepath.Join(dir, fmt.Sprint(i))
		check(t, os.WriteFile(file, make([]byte, size), 0o600))
		units = append(units, rpmfiles.Unit{Path: file})
	}
	p, _ := onTTY("none")
	defer p.close()
	done := p.packages("signed", append(units, rpmfiles.Unit{Path: filepath.Join(dir, "missing")}))
	p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 7, Bytes: 70})
	p.observer.Tell(signing.Event{Kind: signing.Attaching, Entries: 7})
	done(units[1].Path)
	if got, want := p.tally.String(), "signed 1 of 3 packages, 0.9 of 1.0 kB"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.begin("making the metadata", "", amount{})
	if got, want := p.tally.String(), "making the metadata"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestReading reads a file, and a pipe of which nobody knows the size.
func TestReading(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(name, make([]byte, 4000), 0o600))
	f, err := os.Open(name)
	check(t, err)
	defer f.Close()
	p, _ := onTTY("none")
	defer p.close()
	for _, c := range []struct {
		in   io.Reader
		want string
	}{{f, "reading 1.0 of 4.0 kB"}, {strings.NewReader(strings.Repeat("x", 4000)), "reading 1.0 kB"}} {
		in := p.app.reading(c.in)
		if got := p.tally.String(); got != "reading" {
			t.Errorf("before: %q", got)
		}
		_, err := io.CopyN(io.Discard, in, 1000)
		check(t, err)
		if got := p.tally.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestNoLineWraps draws every width, and looks at what is left out first.
func TestNoLineWraps(t *testing.T) {
	full := tally{step: step{
		verb: "digested", unit: "entries", done: amount{12_034, 1.2e9}, total: amount{18_024, 2e9}, left: 7 * time.Second,
	}}
	for width, want := range map[int]string{
		97: "[=========      ] digested 12,034 of 18,024 entries, 1.2 of 2.0 GB, 0:07 left",
		77: "[=========      ] digested 12,034 of 18,024 entries, 1.2 of 2.0 GB, 0:07 left",
		76: "digested 12,034 of 18,024 entries, 1.2 of 2.0 GB, 0:07 left",
		50: "digested 12,034 of 18,024 entries, 0:07 left",
		37: "digested 12,034 of 18,024, 0:07 left",
		30: "12,034 of 18,024, 0:07 left",
		20: "12,034 of 18,024",
		7:  "63%",
		2:  "",
	} {
		if got := full.line(width); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
	for width := range 120 {
		for _, n := range []tally{full, {}, {where: "layer 2 of 5", step: full.step}, {step: step{verb: "making the metadata"}}} {
			if got := n.line(width); len(got) > width {
				t.Errorf("%d columns: %q", width, got)
			}
		}
	}
}

// TestResize checks that a line is drawn for the width that the terminal has now.
func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 5000})
		for _, c := range []struct {
			width int
			want  string
		}{{80, line("digested 5,000 entries, 0 bytes")}, {30, line("digested 5,000 entries")}, {10, line("5,000")}, {5, line("")}, {0, ""}} {
			screen.resize(c.width)
			wait(appearsAfter + frame)
			if said := screen.take(); said != c.want {
				t.Errorf("%d columns: %q, want %q", c.width, said, c.want)
			}
		}
		p.close()
	})
}

// TestTreesAreCounted compares the count of a tree with what an engine meets in it.
func TestTreesAreCounted(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
	for name, size := range map[string]int{"one": 10, "a/two": 200, "a/b/three": 3000} {
		check(t, os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600))
	}
	check(t, os.Link(filepath.Join(dir, "a/two"), filepath.Join(dir, "zwei")))
	check(t, os.Symlink("one", filepath.Join(dir, "link")))
	check(t, os.Symlink("/", filepath.Join(dir, "root")))
	for _, c := range []struct {
		count treeCount
		want  amount
	}{
		{treeCount{paths: []string{dir}}, amount{9, 3210}},
		{treeCount{paths: []string{dir}, files: true}, amount{4, 3410}},
		{treeCount{paths: []string{dir, filepath.Join(dir, "one")}, files: true}, amount{5, 3420}},
	} {
		if got, err := c.count.count(t.Context().Done()); err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v", c.count, got, err)
		}
	}
	if _, err := (treeCount{paths: []string{dir + "/none"}}).count(t.Context().Done()); err == nil {
		t.Error("no error for a path that does not exist")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	check(t, syscall.Mkfifo(fifo, 0o600))
	if got, err := (treeCount{paths: []string{fifo}, files: true}).count(nil); err != nil || got != (amount{items: 1}) { // it waits for no writer
		t.Errorf("a FIFO: %+v, %v", got, err)
	}
	stopped := make(chan struct{})
	close(stopped)
	if _, err := (treeCount{paths: []string{dir}}).count(stopped); !errors.Is(err, errStopped) {
		t.Errorf("stopped: %v", err)
	}
	p, _ := onTTY("none")
	defer p.close()
	p.count(treeCount{paths: []string{dir}})
	p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 3})
	p.startCounting()
	p.stopped.Wait()
	if got, want := p.tally.String(), "digested 3 of 9 entries, 0.0 of 3.2 kB"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
