package main

import (
	"context"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// kept gives a Reason to the files of a package whose signatures are none of the run's
// business: an output of an interrupted run, which may have been about other files, is
// continued only if it has them as the package has.
func (c *packageChange) kept(src signing.Source) signing.Source {
	if c.Select != nil {
		src = c.Select(src)
	}
	if c.from != 0 {
		src = rotated{src, c.from}
	}
	return src
}

// rotated gives a Reason to what has no signature of one key.
type rotated struct {
	signing.Source

	from ima.KeyID
}

// Entries lists those of the source.
func (r rotated) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for e, err := range r.Source.Entries(ctx) {
			if v, wrong := ima.Parse(e.Xattrs[ima.XattrIMA]); e.Reason == "" && (wrong != nil || v.KeyID != r.from) {
				e.Reason = "not signed by the key that is replaced"
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
