package audit

import (
	"context"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Options are optional.
type Options struct {
	// Since is an older checkpoint, which the log must continue.
	Since *protocol.Checkpoint
	// Jobs is how many records are verified at a time, one per core if it is not positive.
	Jobs int
	// Visit is called for each record, in their order. An error ends the run.
	Visit func(*translog.Entry, *Record) error
}

// window is how many records are verified or wait for their turn.
const window = 64

type decoded struct {
	entry  translog.Entry
	record *Record
	err    error
}

// Verify reads all records that a checkpoint is for, and verifies each. What is wrong is a
// [translog.DamageError], which names the first bad record if possible. Visit sees records before
// the whole log is verified.
func Verify(ctx context.Context, log Log, c protocol.Checkpoint, o Options) error {
	var past *history
	if o.Since != nil {
		past = &history{log: log, old: *o.Since}
		if err := past.begin(c); err != nil {
			return err
		}
	}
	worker := func() func(context.Context, translog.Entry) decoded {
		return func(_ context.Context, e translog.Entry) decoded {
			r, err := Decode(&e)
			return decoded{e, r, err}
		}
	}
	return pipeline.Ordered(ctx, o.Jobs, window, log.Walk(ctx, c), worker, func(d decoded) error {
		if past != nil {
			if err := past.add(&d.entry); err != nil {
				return err
			}
		}
		if d.err != nil {
			return damaged(log, d.entry.Index, "%v", d.err)
		}
		if o.Visit != nil {
			return o.Visit(&d.entry, d.record)
		}
		return nil
	})
}
