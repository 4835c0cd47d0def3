package harness

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// Warnings collects the warnings of what is tested. Several goroutines may add to it.
type Warnings struct {
	mu   sync.Mutex
	list []string
}

// Add adds one warning.
func (w *Warnings) Add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

// List returns the warnings since the last Check.
func (w *Warnings) List() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// Check fails the test unless there is one warning with all the words, or none if there are no
// words. It returns the warning, and forgets it.
func (w *Warnings) Check(t testing.TB, words ...string) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) != min(1, len(words)) {
		t.Errorf("warnings: %q", w.list)
	}
	text := strings.Join(w.list, "\n")
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("warning %q does not say %q", text, word)
		}
	}
	w.list = nil
	return text
}
