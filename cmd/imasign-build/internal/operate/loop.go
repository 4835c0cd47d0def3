package operate

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/pkg/signing"
)

// stage is how far work on a unit got.
type stage uint8

const (
	opening stage = iota
	planning
	writingManifest
	preparing
	committing
)

// begin opens and plans a unit.
func (op *Operation) begin(ctx context.Context, u Unit) Outcome {
	o := op.open(ctx, u, u.Open)
	if o.Err != nil && u.Instead != nil && ctx.Err() == nil {
		o = op.open(ctx, u, u.Instead)
	}
	return o
}

func (op *Operation) open(ctx context.Context, u Unit, open func(context.Context) (Opened, error)) Outcome {
	o := Outcome{Unit: u}
	end := op.turns.take()
	var err error
	o.Opened, err = open(ctx)
	end()
	if o.fail(opening, err) {
		return o
	}
	if o.Plan, err = op.plan(ctx, string(u.Kind), &o.Opened); o.fail(planning, err) {
		_ = o.Container.Close() // nothing was written
	}
	return o
}

func (op *Operation) plan(ctx context.Context, kind string, c *Opened) (*signing.Plan, error) {
	if c.Skip != "" {
		return new(signing.Plan), nil
	}
	var src signing.Source = c.Container
	if op.Select != nil {
		src = op.Select(src)
	}
	if op.Manifest == nil {
		src = withoutTargets{src}
	}
	if op.turns != nil {
		src = inTurn{src, op.turns}
	}
	return op.Plan(ctx, c.Name, named{src, kind, c.Name})
}

// end prepares and commits a unit that is planned, and closes its container.
func (op *Operation) end(ctx context.Context, o *Outcome) {
	if o.Plan == nil {
		return
	}
	defer op.turns.take()()
	defer o.Container.Close() //nolint:errcheck // Commit has synced its output
	if o.Err != nil {
		return
	}
	if err := o.Plan.Attachable(); !op.DryRun && o.fail(preparing, err) {
		return
	}
	change, err := o.Container.Prepare(ctx, o.Plan)
	if o.fail(preparing, err) {
		return
	}
	o.Change = *change
	if !op.DryRun && change.Commit != nil {
		op.commit(ctx, o)
	}
}

// commit makes the change. For a Live unit, interrupts wait until the change is completed
// or undone.
func (op *Operation) commit(ctx context.Context, o *Outcome) {
	if held := o.Unit.Live && op.Guard != nil; held {
		op.Guard.Hold()
		defer func() { o.Waited = op.Guard.Release() && o.Err == nil }()
	}
	if o.fail(preparing, context.Cause(ctx)) {
		return
	}
	o.fail(committing, o.Change.Commit(ctx))
}

// fail notes an error and reports whether there is one.
func (o *Outcome) fail(at stage, err error) bool {
	if err == nil {
		return false
	}
	o.stage, o.Err = at, err
	return true
}

// close ends the plan.
func (o *Outcome) close() {
	if o.Plan != nil {
		_ = o.Plan.Close() // its file has no name
	}
}

// errUnchanged is added below errors of the inputs or the key.
var errUnchanged = errors.New("nothing was changed")

// explain returns the error of a unit, and says in which state the target is.
func (op *Operation) explain(ctx context.Context, o *Outcome) error {
	undone := o.stage == committing && o.Unit.Live // Commit reports the state
	switch {
	case context.Cause(ctx) != nil && !undone:
		return op.interrupted(ctx, o.stage, o.Unit.Path, o.Err)
	case o.stage == opening, o.stage == committing:
		return o.Err
	}
	return errors.Join(o.Err, errUnchanged)
}

// Interrupted returns err, which ended the operation before there was a unit. After an
// interrupt, the error says in which state the target is.
func (op *Operation) Interrupted(ctx context.Context, err error) error {
	return op.interrupted(ctx, opening, "", err)
}

// interrupted returns err. After an interrupt, the error says in which state the target is.
func (op *Operation) interrupted(ctx context.Context, at stage, path string, err error) error {
	cause := context.Cause(ctx)
	doing := "planning"
	switch {
	case cause == nil, op.Stream && at == committing:
		return err
	case at == opening:
		doing = "reading"
	case at == committing:
		doing = "writing"
	}
	return fmt.Errorf("%w while %s: %s is as it was", cause, doing, cmp.Or(op.Target, path))
}
