package operate

import (
	"context"
	"iter"

	"github.com/imasign/imasign-build/pkg/signing"
)

// turns limits how many units are worked on at a time, so that those that wait for a slow key
// cost only memory. nil sets no limit.
type turns chan struct{}

// take waits for a turn, and returns what ends it.
func (t turns) take() (end func()) {
	if t == nil {
		return func() {}
	}
	t <- struct{}{}
	return func() { <-t }
}

// inTurn reads contents only in turn. Units with stated digests need that for few entries,
// but it may take memory and time.
type inTurn struct {
	signing.Source

	turns turns
}

// Entries lists the entries of the source.
func (s inTurn) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for e, err := range s.Source.Entries(ctx) {
			if reads := e.DoubleUse; reads != nil {
				e.DoubleUse = func() (bool, error) {
					defer s.turns.take()()
					return reads()
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
