package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/ima"
)

// judge verifies signatures of a cache on every core, and collects those that are not valid.
type judge struct {
	jobs     int
	progress *progress
	report   *report.Signatures
}

// judged is an entry, and why its signature is not valid: nil if it is.
type judged struct {
	sigcache.Entry
	wrong error
}

// window is the number of signatures that are verified or wait for their turn.
const window = 1024

// errEnough ends a pipeline whose results nobody takes any more.
var errEnough = errors.New("enough")

// valid yields the entries whose signatures are valid, in their order.
func (j *judge) valid(ctx context.Context, entries iter.Seq2[sigcache.Entry, error]) iter.Seq2[sigcache.Entry, error] {
	worker := func() func(context.Context, sigcache.Entry) judged {
		return func(_ context.Context, e sigcache.Entry) judged { return judged{e, e.Verify()} }
	}
	return func(yield func(sigcache.Entry, error) bool) {
		done := false
		err := pipeline.Ordered(ctx, j.jobs, window, entries, worker, func(e judged) error {
			switch {
			case done:
			case e.wrong != nil:
				j.take(&e)
			default:
				j.report.OK++
				if done = !yield(e.Entry, nil); done {
					return errEnough
				}
			}
			j.progress.advance(0)
			return nil
		})
		if err != nil && !done {
			yield(sigcache.Entry{}, err)
		}
	}
}

// take notes a signature that is not valid.
func (j *judge) take(e *judged) {
	s := report.Signature{
		Xattr: e.Form.Xattr, SignatureVersion: int(e.Form.Version), Hash: e.Hash.String(), Digest: fmt.Sprintf("%x", e.Digest),
		Status: "bad", Reason: ima.Reason(e.wrong), Detail: e.wrong.Error(),
	}
	if e.Form.Over == ima.Verity {
		s.SignatureOver = e.Form.Over.String()
	}
	if public, err := e.Public(); err == nil {
		s.KeyID = public.ID().String()
	}
	j.report.Bad(s)
}
