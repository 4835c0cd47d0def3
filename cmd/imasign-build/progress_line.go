package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/signing"
)

// amount is how much work there is, or is done.
type amount struct{ items, bytes int64 }

// step is a part of the work that is counted on its own: digesting, then attaching.
type step struct {
	verb, unit string        // "digested", "entries"; only bytes count without a unit
	done       amount        // of total
	total      amount        // 0 where nobody knows
	position   func() int64  // bytes done, instead of done.bytes; nil for none
	left       time.Duration // an estimate; 0 for none
	about      bool          // total.items is an estimate
	beside     string        // what else is done; "" for nothing
	pace       string        // how fast; "" if nobody knows
}

// tally is what a run has done so far. It has one step at a time.
type tally struct {
	step
	signatures

	verb    string // what is done to entries before anything is attached
	noun    string // what events count: "entries"
	where   string // goes before the step: "layer 2 of 5"
	apart   bool   // steps are set by the command, and events are of details that do not count
	archive bool   // what is attached makes an archive of all entries that were counted
	partly  bool   // not all content is read: the bytes of all entries are no total
	counted amount // the entries of a tree; 0 before they are counted
}

// begin starts a step, unless it runs.
func (t *tally) begin(verb, unit string, total amount) {
	if t.step.verb != verb || t.unit != unit {
		t.step = step{verb: verb, unit: unit, total: total}
	}
}

func (t *tally) take(e signing.Event) {
	if t.signatures.take(e); t.apart {
		return
	}
	attached, total := "attached", amount{}
	if t.archive {
		attached, total = "archived", t.counted
	}
	switch e.Kind {
	case signing.Needed, signing.Made:
		return
	case signing.Listed:
		t.step = step{verb: t.verb, unit: t.noun, total: t.read(amount{e.Entries, e.Bytes})}
		return
	case signing.Attaching:
		t.begin(attached, t.noun, total)
		t.total.items += e.Entries
		return
	case signing.Restoring:
		t.begin("restored", t.noun, amount{})
		t.total.items += e.Entries
		return
	case signing.Attached:
		t.begin(attached, t.noun, total)
	case signing.Restored:
		t.begin("restored", t.noun, amount{})
	default:
		t.begin(t.verb, t.noun, t.read(t.counted))
	}
	t.done.items += e.Entries
	t.done.bytes += e.Bytes
}

// count notes how much there is in a tree, also for the step that runs.
func (t *tally) count(n amount) {
	t.counted = n
	switch t.step.verb {
	case t.verb:
		t.total = t.read(n)
	case "archived":
		t.total = n
	}
}

// read returns the part of what there is that is known to be read.
func (t *tally) read(n amount) amount {
	if t.partly {
		n.bytes = 0
	}
	return n
}

// share returns how much of the step is done, 0 to 1, and false if nobody knows. Items
// and bytes both cost time: half of the share is of each.
func (s *step) share() (float64, bool) {
	var sum, n float64
	for _, c := range [][2]int64{{s.done.items, s.total.items}, {s.bytes(), s.total.bytes}} {
		if done, total := c[0], c[1]; total > 0 {
			if done > total { // the total is no longer true
				return 0, false
			}
			sum += float64(done) / float64(total)
			n++
		}
	}
	if n == 0 {
		return 0, false
	}
	return sum / n, true
}

func (s *step) bytes() int64 {
	if s.position != nil {
		return s.position()
	}
	return s.done.bytes
}

// String is the whole line, for a log.
func (t *tally) String() string {
	parts := []string{t.items(true, true)}
	if t.unit != "" {
		parts = append(parts, t.size()...)
	}
	return t.join(append(parts, t.beside, t.pace, t.remaining())...)
}

// line is the longest form that fits into a number of columns, in ASCII: first the bar
// goes, then the bytes, the rate, the unit, the verb, the time, and last all but a percentage.
func (t *tally) line(width int) string {
	whole := t.String()
	for _, text := range []string{
		t.bar(width-len(whole)) + whole,
		whole,
		t.join(t.items(true, true), t.beside, t.remaining()),
		t.join(t.items(true, true), t.remaining()),
		t.join(t.items(true, false), t.remaining()),
		t.join(t.items(false, false), t.remaining()),
		t.items(false, false),
		t.percentage(),
	} {
		if text != "" && len(text) <= width {
			return text
		}
	}
	return ""
}

// join joins the parts of a line that are not empty.
func (t *tally) join(parts ...string) string {
	line := strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
	switch {
	case t.where == "":
		return line
	case line == "":
		return t.where
	}
	return t.where + ": " + line
}

// items is "digested 1,034 of 18,024 entries", or a part of that.
func (t *tally) items(verb, unit bool) string {
	var text []string
	if verb && t.step.verb != "" {
		text = append(text, t.step.verb)
	}
	if t.unit == "" {
		return strings.Join(append(text, t.size()...), " ")
	}
	text = append(text, report.Count(t.done.items))
	if t.total.items > 0 && t.done.items <= t.total.items {
		if text = append(text, "of"); t.about {
			text = append(text, "about")
		}
		text = append(text, report.Count(t.total.items))
	}
	if unit {
		text = append(text, t.unit)
	}
	return strings.Join(text, " ")
}

// size is "1.2 of 2.0 GB", nothing for a step without bytes.
func (t *tally) size() []string {
	done, total := t.bytes(), t.total.bytes
	switch {
	case t.unit == "" && done == 0, t.unit == "signatures":
		return nil
	case total > 0 && done <= total:
		return []string{report.SizeOf(done, total)}
	case done > 0 || t.unit != "" && t.total.items == 0:
		return []string{report.Size(done)}
	}
	return nil
}

func (t *tally) remaining() string {
	if t.left == 0 {
		return ""
	}
	return clock(t.left) + " left"
}

func (t *tally) percentage() string {
	share, known := t.share()
	if !known {
		return ""
	}
	return fmt.Sprintf("%d%%", int(share*100))
}

// barWidth is that of the bar and the space behind it: what a typical line leaves of 80
// columns.
const barWidth = 18

// bar returns the bar, "" if it does not fit or nobody knows how much there is to do.
func (t *tally) bar(room int) string {
	share, known := t.share()
	if !known || room < barWidth {
		return ""
	}
	const inner = barWidth - len("[] ")
	full := int(share * float64(inner))
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", inner-full) + "] "
}
