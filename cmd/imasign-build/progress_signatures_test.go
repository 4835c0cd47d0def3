package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/signing"
)

// make makes n signatures, one each, and plans as many entries.
func (p *progress) make(n int, each time.Duration, planned bool) {
	for range n {
		wait(each)
		p.observer.Tell(signing.Event{Kind: signing.Made, Entries: 1})
		if planned {
			p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 1})
		}
	}
	wait(frame)
}

// last returns the text that a terminal shows.
func (t *tty) last() string {
	said := t.take()
	return strings.TrimSpace(strings.TrimSuffix(said[strings.LastIndex(said, "\r")+1:], "\x1b[K"))
}

// TestSignaturesOfASlowKey looks at the line of a tree of 1,000 entries, at first of which 200
// have been digested, and 100 of which a cache has.
func TestSignaturesOfASlowKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		p.slow()
		p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 100})
		wait(time.Second)
		if got := screen.last(); got != "digested 100 entries, 0 bytes" {
			t.Errorf("before a signature is needed: %q", got)
		}
		p.observer.Tell(signing.Event{Kind: signing.Needed, Entries: 100})
		p.make(16, 125*time.Millisecond, true)
		if got := screen.last(); got != "signed 16 signatures" {
			t.Errorf("before entries are counted: %q", got)
		}
		p.observer.Tell(signing.Event{Kind: signing.Listed, Entries: 1000})
		p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 116})
		p.make(32, 125*time.Millisecond, true)
		if got := screen.last(); !strings.HasSuffix(got, "signed 48 of about 500 signatures, 8/s, 1:00 left") {
			t.Errorf("while entries are digested: %q", got)
		}
		p.observer.Tell(signing.Event{Kind: signing.Planned, Entries: 600}) // a cache has them all
		p.observer.Tell(signing.Event{Kind: signing.Needed, Entries: 200})
		p.make(40, 125*time.Millisecond, true)
		if got := screen.last(); !strings.HasSuffix(got, "signed 88 of 300 signatures, 8/s, 0:28 left") {
			t.Errorf("when all are digested: %q", got)
		}
		p.make(100, 2*time.Second, true)
		if got := screen.last(); !strings.HasSuffix(got, "signed 188 of 300 signatures, 0.5/s, 3:44 left") {
			t.Errorf("slower: %q", got)
		}
		wait(time.Minute)
		if got := screen.last(); !strings.HasSuffix(got, "signed 188 of 300 signatures") {
			t.Errorf("nothing moves: %q", got)
		}
		p.observer.Tell(signing.Event{Kind: signing.Attaching, Entries: 200})
		wait(time.Second)
		if got := screen.last(); !strings.HasSuffix(got, "attached 0 of 200 entries") {
			t.Errorf("attaching: %q", got)
		}
		p.close()
	})
}

// TestSignaturesOfAFastKey checks that only those of slow keys are shown.
func TestSignaturesOfAFastKey(t *testing.T) {
	var n tally
	n.verb, n.noun = "digested", "entries"
	for _, e := range []signing.Event{{Kind: signing.Needed, Entries: 9}, {Kind: signing.Made, Entries: 4}, {Kind: signing.Planned, Entries: 3}} {
		n.take(e)
	}
	if got := n.signing().String(); got != "digested 3 entries, 0 bytes" {
		t.Errorf("%q", got)
	}
}

// TestSignaturesOfPackages looks at the log of a repository.
func TestSignaturesOfPackages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := onTTY("plain")
		p.slow()
		done := p.packages("signed", make([]rpmfiles.Unit, 210))
		for range 70 {
			p.begun()
		}
		p.observer.Tell(signing.Event{Kind: signing.Needed, Entries: 1000})
		for range 20 {
			done("")
		}
		p.make(79, 125*time.Millisecond, false)
		lines := strings.Split(strings.TrimSpace(log.take()), "\n")
		if got := lines[len(lines)-1]; got != "imasign-build: signed 20 of 210 packages, 79 signatures, 8/s, 6:07 left" {
			t.Errorf("%q", got)
		}
		p.begin("making the metadata", "", amount{})
		wait(plainInterval)
		if got := log.take(); got != "imasign-build: making the metadata\n" {
			t.Errorf("%q", got)
		}
		p.close()
	})
}

// TestSignaturesOfLayers checks that signatures are counted over all layers, without a time.
func TestSignaturesOfLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, screen := onTTY("bar")
		p.slow()
		for layer, text := range []string{"", "layer 1 of 2: signed 80 of about 200 signatures, 8/s", "layer 2 of 2: signed 160 of 200 signatures, 8/s"} {
			if layer == 0 {
				continue
			}
			p.layer(layer, 2)
			p.observer.Tell(signing.Event{Kind: signing.Listed, Entries: 100})
			p.observer.Tell(signing.Event{Kind: signing.Needed, Entries: 100})
			p.make(80, 125*time.Millisecond, true)
			if got := screen.last(); !strings.HasSuffix(got, text) {
				t.Errorf("%q", got)
			}
		}
		p.close()
	})
}

// TestSignaturesFit draws every width.
func TestSignaturesFit(t *testing.T) {
	full := tally{step: step{
		verb: "signed", unit: "signatures", done: amount{items: 12_300}, total: amount{items: 18_000}, left: 12 * time.Minute, about: true, pace: "8/s",
	}}
	packages := full
	packages.unit, packages.about, packages.beside = "packages", false, "4,100 signatures"
	for width := range 120 {
		for _, n := range []tally{full, packages} {
			if got := n.line(width); len(got) > width || width > 20 && got == "" {
				t.Errorf("%d columns: %q", width, got)
			}
		}
	}
	for width, want := range map[int]string{
		97: "[==========     ] signed 12,300 of about 18,000 signatures, 8/s, 12:00 left",
		70: "signed 12,300 of about 18,000 signatures, 8/s, 12:00 left",
		52: "signed 12,300 of about 18,000 signatures, 12:00 left",
		40: "12,300 of about 18,000, 12:00 left",
	} {
		if got := full.line(width); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
	if got, want := packages.line(60), "signed 12,300 of 18,000 packages, 4,100 signatures, 12:00 left"; got == want || got != "signed 12,300 of 18,000 packages, 12:00 left" {
		t.Errorf("%q", got)
	}
}
