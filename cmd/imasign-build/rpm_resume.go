package main

import (
	"context"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// kept gives a Reason to the files of a package whose signatures this run does not change.
// The interrupted run may have selected other files. Its output is used only if these files
// have the same signatures in it as in the package.
func (c *packageChange) kept(src signing.Source) signing.Source {
	if c.Select != nil {
		src = c.Select(src)
	}
	if c.from != 0 {
		src = rotated{src, c.from}
	}
	return src
}

// rotated gives a Reason to entries that the key from did not sign.
type rotated struct {
	signing.Source

	from ima.KeyID
}

// Entries yields the entries of the source.
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
