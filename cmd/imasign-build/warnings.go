package main

import (
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

// fewWarnings is how many warnings of one kind are printed without --verbose.
const fewWarnings = 3

// warnings counts the warnings of each kind.
type warnings struct {
	mu    sync.Mutex
	said  map[string]int // by kind
	order []string       // of the kinds, as they came up
}

// warnOfEach warns about one of many files or packages. Only the first warnings of a kind
// are printed; endWarnings counts the others.
func (a *app) warnOfEach(kind, format string, args ...any) {
	w := &a.warnings
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said == nil {
		w.said = map[string]int{}
	}
	if w.said[kind] == 0 {
		w.order = append(w.order, kind)
	}
	if w.said[kind]++; w.said[kind] <= fewWarnings || a.verbose {
		a.note("warning: "+format, args...)
	}
}

// endWarnings prints, at the end of a command, how many warnings of each kind were left out.
func (a *app) endWarnings() {
	w := &a.warnings
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range w.order {
		if more := w.said[kind] - fewWarnings; more > 0 && !a.verbose {
			a.note("warning: %s more of the same kind (-v prints all): %s", report.Count(more), kind)
		}
	}
}
