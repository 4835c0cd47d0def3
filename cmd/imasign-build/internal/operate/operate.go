// Package operate has the only loop over containers: open, plan, write the manifest,
// prepare, commit, publish. Run does this for one container, and Each for many, which fail
// alone or together. A dry run ends after Prepare.
//
// A Container is an input and its output, opened together: a tree in place, a tree and a
// restore file, an archive and its copy, a package and its output, a layer and its blob.
// The Operation decides what is planned (sign, strip, apply), and its Guard what signals
// do. Reports, flags and keys are left to the program.
package operate

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Container lists entries, and makes the change that a plan for them describes.
type Container interface {
	signing.Source
	// Prepare refuses what can be refused (space, limits, permissions) and touches
	// nothing. Committing its Change does the rest, whole or not at all. A dry run also
	// prepares plans that lack signatures (signing.Plan.Attachable).
	Prepare(ctx context.Context, plan *signing.Plan) (*signing.Change, error)
	// Close closes what Open opened.
	Close() error
}

// Unit is a container that is not open yet.
type Unit struct {
	Path string // as the user named it; "" if errors need not name it
	Kind manifest.Container
	// Live means that Commit changes something in use, so that an interrupted change must
	// be finished or undone. Operation.Guard decides.
	Live bool

	// Open opens the container, and refuses early what Prepare would refuse anyway. A
	// container returned with an error is reported by the outcome and closed.
	Open func(ctx context.Context) (Opened, error)
	// Instead, unless nil, opens another container if the one of Open cannot be opened or
	// planned. Open then tries the output of an interrupted run first.
	Instead func(ctx context.Context) (Opened, error)
}

// Units lists units. A list that waits for other units ends with ctx.
type Units func(ctx context.Context) iter.Seq2[Unit, error]

// Of returns the units of a list that waits for nothing.
func Of(list iter.Seq2[Unit, error]) Units {
	return func(context.Context) iter.Seq2[Unit, error] { return list }
}

// Opened is an open container.
type Opened struct {
	Container Container
	Name      string // in the manifest; "" for a tree
	// Skip, unless "", says why nothing is planned. The container is not in the manifest.
	// It is still prepared, with an empty plan, because it may be copied to an output.
	Skip string
}

// Planner makes the plan of an opened container, for signing, stripping or applying a
// manifest. name is that of Opened.
type Planner func(ctx context.Context, name string, src signing.Source) (*signing.Plan, error)

// Operation is what is done to each unit.
type Operation struct {
	Plan     Planner
	Select   func(signing.Source) signing.Source // nil for all entries
	DryRun   bool
	Manifest *Manifest // nil for none
	Receipts Companion // appears when the manifest does, or would; nil for none
	Guard    Guard     // nil if no unit is Live
	// Waiting is the number of units of Each that may be in progress at the same time, most of
	// which wait for the signatures of a slow key. Zero stands for no more than are worked on.
	// Units that fail together are then prepared and committed one at a time, in their order.
	Waiting int
	// Target names in errors what Run, or all units together, change; "" means the path
	// of the unit.
	Target string
	// Stream says that the target is standard output, which may be partly written.
	Stream bool
	// Finish, unless nil, is called after the last unit of Each. It publishes what needs
	// the results of all units: documents of images, metadata of repositories. In a dry
	// run it only refuses what cannot be published. It is not called if the run ended
	// early. The totals count units that failed.
	Finish func(ctx context.Context, t Totals) error

	turns turns // of the units of Each
}

// Guard keeps interrupts away from a Live unit.
type Guard interface {
	// Hold makes interrupts wait: from now on, only a repeated interrupt ends ctx.
	Hold()
	// Release ends Hold and reports whether an interrupt waited.
	Release() (interrupted bool)
}

// Outcome is the result of working on a unit.
type Outcome struct {
	Unit Unit
	Opened
	Plan   *signing.Plan // open until take returns; nil after an error before it was made
	Change signing.Change
	// Waited says that an interrupt came while a Live unit was being changed, and that
	// the change was completed.
	Waited bool
	Err    error

	stage stage // at which Err occurred
}

// Run works on one unit and passes the outcome to take if there was no error. The manifest
// is written before anything is changed, and appears when everything is done. The error
// says whether the target is unchanged.
func Run(ctx context.Context, u Unit, op *Operation, take func(*Outcome) error) error {
	o := op.begin(ctx, u)
	defer o.close()
	m := listing{Manifest: op.Manifest, beside: op.Receipts}
	defer m.discard()
	if o.Err == nil {
		o.fail(writingManifest, m.add(&o))
	}
	op.end(ctx, &o)
	if o.Err != nil {
		return op.explain(ctx, &o)
	}
	if err := m.commit(); err != nil {
		return err
	}
	return take(&o)
}

// Each works on up to pipeline.Jobs(jobs) units at a time; further units may wait for
// signatures ([Operation.Waiting]). It passes each outcome to take,
// in the order of the units, on the caller's goroutine. The context of units ends when the run
// fails. Without together, units fail alone: outcomes have their errors, and finished units stay changed. With together, as
// for the layers of an image, the first error ends the run, and Each returns the error
// instead of passing it to take.
//
// Each returns the totals, and the first error that is not only a unit's: of the list of
// units, of a unit with together, of take, the manifest or Finish, or the cause of ctx.
// The manifest appears if no unit failed and everything is done.
func Each(ctx context.Context, jobs int, units Units, together bool, op *Operation, take func(*Outcome) error) (Totals, error) {
	jobs = pipeline.Jobs(jobs)
	run, workers := *op, max(jobs, op.Waiting)
	if workers > jobs {
		run.turns = make(turns, jobs)
	}
	op = &run
	inOrder := together && op.turns != nil
	until, end := context.WithCancel(ctx)
	defer end()
	r := round{Operation: op, together: together, take: take, manifest: listing{Manifest: op.Manifest, beside: op.Receipts}}
	defer r.manifest.discard()
	worker := func() func(context.Context, Unit) *Outcome {
		return func(ctx context.Context, u Unit) *Outcome {
			o := op.begin(ctx, u)
			if !inOrder {
				op.end(ctx, &o)
			}
			return &o
		}
	}
	err := pipeline.Ordered(ctx, workers, workers+3*jobs, units(until), worker, func(o *Outcome) error {
		defer o.close()
		if inOrder {
			r.end(ctx, o)
		}
		err := r.add(ctx, o)
		if err != nil {
			end()
		}
		return err
	})
	if err == nil && op.Finish != nil {
		err = op.Finish(ctx, r.totals)
	}
	switch {
	case r.err != nil: // more specific than the cause of ctx
		err = r.err
	case err != nil && together:
		err = op.interrupted(ctx, committing, "", err)
	case err == nil && r.totals.Failed == 0:
		err = r.manifest.commit()
	}
	return r.totals, err
}

// round is one run over many units.
type round struct {
	*Operation

	together bool
	take     func(*Outcome) error
	manifest listing
	totals   Totals
	err      error // the first of all
}

// end ends a unit in its turn. After an error, it only closes the container.
func (r *round) end(ctx context.Context, o *Outcome) {
	if r.err == nil {
		r.Operation.end(ctx, o)
	} else if o.Plan != nil {
		_ = o.Container.Close() // nothing was written
	}
}

func (r *round) add(ctx context.Context, o *Outcome) error {
	if o.Err != nil && o.stage == planning && o.Unit.Path != "" {
		o.Err = fmt.Errorf("%s: %w", o.Unit.Path, o.Err)
	}
	if !r.together && r.err != nil && errors.Is(o.Err, r.err) { // it was begun when the run ended, and is as it was
		return r.err
	}
	if r.together && (o.Err != nil || r.err != nil) {
		if r.err == nil {
			r.err = r.explain(ctx, o)
		}
		return r.err
	}
	if r.totals.add(o); o.Err == nil && r.err == nil {
		r.err = r.manifest.add(o)
	}
	if err := r.take(o); r.err == nil {
		r.err = err
	}
	return r.err
}
