package operate

import (
	"context"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// named gives the entries of a container its kind and its name in a manifest.
type named struct {
	signing.Source

	kind, name string
}

// Entries lists the entries of the source.
func (s named) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		var from, origin *ima.Origin
		for e, err := range s.Source.Entries(ctx) {
			if origin == nil || e.Origin != from {
				from, origin = e.Origin, &ima.Origin{}
				if from != nil {
					*origin = *from
				}
				origin.Container, origin.Name = s.kind, s.name
			}
			e.Origin = origin
			if !yield(e, err) {
				return
			}
		}
	}
}
