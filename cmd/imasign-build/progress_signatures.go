package main

import (
	"fmt"
	"math"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/signing"
)

const (
	// rateWindow is the recent time whose signatures make the rate. It is longer than a batch of
	// a slow key takes.
	rateWindow = 20 * time.Second
	// rateAfter is how long signatures are made before there is a rate.
	rateAfter = 3 * time.Second
)

// signatures are what a slow key makes. Signatures from caches are none of them.
type signatures struct {
	slow   bool
	needed int64 // as far as is known
	made   int64 // of needed
	begun  int64 // number of packages or layers whose signatures are known to be needed
	layers int64 // number of all layers; 0 if there are none
	seen   int64 // most entries that are known to be done, or to need a signature
	recent []madeAt
}

type madeAt struct {
	at   time.Time
	made int64
}

// slow says that a slow key signs, so that signatures are counted.
func (p *progress) slow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.slow = true
}

// begun counts a package that has said, or will say in a moment, which signatures it needs.
func (p *progress) begun() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.begun++
}

func (s *signatures) take(e signing.Event) {
	switch e.Kind {
	case signing.Needed:
		s.needed += e.Entries
	case signing.Made:
		s.made += e.Entries
	}
}

// restart forgets what was counted, for another step.
func (s *signatures) restart() { *s = signatures{slow: s.slow} }

// sample notes how many signatures are made now.
func (s *signatures) sample(now time.Time) {
	if s.needed == 0 {
		return
	}
	s.recent = append(s.recent, madeAt{now, s.made})
	for len(s.recent) > 2 && now.Sub(s.recent[1].at) >= rateWindow {
		s.recent = s.recent[1:]
	}
}

// rate returns the number of signatures made per second, 0 if it is not known yet.
func (s *signatures) rate() float64 {
	if len(s.recent) < 2 {
		return 0
	}
	first, last := s.recent[0], s.recent[len(s.recent)-1]
	if last.at.Sub(first.at) < rateAfter {
		return 0
	}
	return float64(last.made-first.made) / last.at.Sub(first.at).Seconds()
}

// expected returns the number of signatures that all containers or entries need. It is an
// estimate until all of them are known, and 0 if their number is not known.
func (s *signatures) expected(seen, all int64) (n int64, exact bool) {
	switch {
	case all <= 0 || seen <= 0:
		return 0, false
	case seen >= all:
		return s.needed, true
	}
	n = int64(math.Ceil(float64(s.needed) * float64(all) / float64(seen)))
	unit := int64(math.Pow10(max(0, len(fmt.Sprint(n))-2))) // two digits, no more is known
	return max((n+unit/2)/unit*unit, s.needed), false
}

// signing returns the tally with the signatures of a slow key as its step, or beside the
// packages that are its step. Other tallies stay as they are.
func (t *tally) signing() *tally {
	if !t.signs() {
		return t
	}
	c := *t
	seen, all := t.begun, t.total.items
	switch {
	case t.layers > 0:
		all = t.layers
	case !t.apart: // each signature that is still to be made is of another entry
		t.seen = max(t.seen, t.done.items+t.needed-t.made) // entries are done in their order: later than signatures
		seen = t.seen
	}
	total, exact := t.expected(seen, all)
	rate := t.rate()
	if c.left = 0; rate > 0 && total > t.made && t.where == "" { // nobody knows how large other layers are
		c.left = time.Duration(float64(total-t.made) / rate * float64(time.Second))
	}
	if c.left > leftMost {
		c.left = 0
	}
	c.pace = pace(rate)
	if t.apart {
		c.done.bytes, c.total.bytes = 0, 0
		c.beside = report.Count(t.made) + " signatures"
		return &c
	}
	c.step.verb, c.unit = "signed", "signatures"
	c.done, c.total, c.about = amount{items: t.made}, amount{items: total}, !exact
	return &c
}

// signs reports whether signatures are what the time goes to: while entries are digested, of
// layers also while earlier ones are written, and all the time with packages.
func (t *tally) signs() bool {
	switch {
	case !t.slow || t.needed == 0:
		return false
	case t.apart:
		return t.unit == "packages"
	}
	return t.step.verb == t.verb || t.layers > 0 && t.made < t.needed
}

// pace writes a rate, "" for none.
func pace(rate float64) string {
	switch {
	case rate <= 0:
		return ""
	case rate < 3:
		return fmt.Sprintf("%.1f/s", rate)
	}
	return report.Count(int64(math.Round(rate))) + "/s"
}
