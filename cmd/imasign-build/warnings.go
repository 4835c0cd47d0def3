package main

import (
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

// fewWarnings is how often the same is said about different things, unless everything
// was asked for.
const fewWarnings = 3

// warnings counts what was said about how many things.
type warnings struct {
	mu    sync.Mutex
	said  map[string]int
	order []string
}

// warnOfEach says something about a file or a package: at once about the first few, and how
// many more there are when the command ends. kind is the same for what says the same.
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

// endWarnings says how many there were of what was said too often.
func (a *app) endWarnings() {
	w := &a.warnings
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range w.order {
		if more := w.said[kind] - fewWarnings; more > 0 && !a.verbose {
			a.note("warning: the same of %s more (all of them with -v): %s", report.Count(more), kind)
		}
	}
}
