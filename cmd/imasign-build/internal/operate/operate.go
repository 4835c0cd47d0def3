// Package operate is the one loop over containers: open, plan, write the manifest,
// prepare, commit, publish. Run does it for one container and Each for many, which fail
// alone or together. A dry run ends after Prepare.
//
// A Container is an input and its output, opened together: a tree in place, a
// tree and a restore file, an archive and its copy, a package and its output, a layer
// and its blob. What a plan says comes with the Operation (sign, strip, apply), what
// signals do with its Guard. Reports, flags and keys are left to the program.
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

// Container lists entries, and makes the change that a plan of them describes.
type Container interface {
	signing.Source
	// Prepare refuses what can be refused (space, limits, permissions) and touches
	// nothing. Committing its Change does the rest, whole or not at all. A dry run also
	// prepares plans that lack signatures (signing.Plan.Attachable).
	Prepare(ctx context.Context, plan *signing.Plan) (*signing.Change, error)
	// Close lets go of what was opened.
	Close() error
}

// Unit is a container that is not open yet.
type Unit struct {
	Path string // as the user named it
	Kind manifest.Container
	// Live means that Commit changes something in use, so that an interrupted change must
	// be finished or undone. Operation.Guard decides.
	Live bool

	// Open opens the container, and refuses early what Prepare would refuse anyway. A
	// container returned with an error is reported by the outcome and closed.
	Open func(ctx context.Context) (Opened, error)
	// Instead, unless nil, opens another container where that of Open cannot be opened
	// or planned: Open then is for the output of an interrupted run.
	Instead func(ctx context.Context) (Opened, error)
}

// Opened is an open container.
type Opened struct {
	Container Container
	Name      string // in the manifest; "" for a tree
	// Skip says why nothing is planned; "" where it is. The container is prepared with
	// an empty plan, because it may go to an output all the same, and is not in the
	// manifest.
	Skip string
}

// Planner makes the plan of an opened container: signing, stripping, or applying a
// manifest. The name is that of Opened.
type Planner func(ctx context.Context, name string, src signing.Source) (*signing.Plan, error)

// Operation is what is done to each unit.
type Operation struct {
	Plan     Planner
	Select   func(signing.Source) signing.Source // nil for all entries
	DryRun   bool
	Manifest *Manifest // nil for none
	Guard    Guard     // nil where no unit is Live
	// Target is what is changed by Run, or by units together, as errors name it; "" stands
	// for the path of the unit.
	Target string
	// Stream says that the target is not whole or absent: standard output.
	Stream bool
	// Finish, unless nil, follows the last unit of Each and publishes what the units'
	// results make together: documents of images, metadata of repositories. In a dry run
	// it only refuses. It is not called when the run ended early; units that failed are
	// counted in the totals.
	Finish func(ctx context.Context, t Totals) error
}

// Guard keeps interrupts away from a Live unit.
type Guard interface {
	// Hold says that from now on an interrupt is not to end ctx unless it is repeated.
	Hold()
	// Release ends Hold and reports whether there was an interrupt that waited.
	Release() (interrupted bool)
}

// Outcome is what became of a unit.
type Outcome struct {
	Unit Unit
	Opened
	Plan   *signing.Plan // open until take returns; nil after an error before it was made
	Change signing.Change
	// Waited says that an interrupt came while a Live unit was changed, and the change
	// was finished.
	Waited bool
	Err    error

	stage stage // that Err is of
}

// Run works on one unit and hands the outcome to take if all went well. The manifest is
// written before anything is changed and appears when everything is done. Its error says
// whether the target is as it was.
func Run(ctx context.Context, u Unit, op *Operation, take func(*Outcome) error) error {
	o := op.begin(ctx, u)
	defer o.close()
	m := listing{Manifest: op.Manifest}
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

// Each works on units, as many at a time as pipeline.Jobs(jobs), and hands each outcome
// to take, in the order of the units, on the caller's goroutine. Units fail alone:
// outcomes have their errors, and those that are done stay done. Units that work
// together, as the layers of an image, end with the first error, which Each returns
// instead of handing it to take.
//
// Each returns the totals, and the first error that is not a unit's alone: of the list
// of units, together, take, the manifest or Finish, or the cause of ctx. The manifest
// appears when no unit failed and everything is done.
func Each(ctx context.Context, jobs int, units iter.Seq2[Unit, error], together bool, op *Operation, take func(*Outcome) error) (Totals, error) {
	r := round{Operation: op, together: together, take: take, manifest: listing{Manifest: op.Manifest}}
	defer r.manifest.discard()
	worker := func() func(context.Context, Unit) *Outcome {
		return func(ctx context.Context, u Unit) *Outcome {
			o := op.begin(ctx, u)
			op.end(ctx, &o)
			return &o
		}
	}
	err := pipeline.Ordered(ctx, jobs, 4*pipeline.Jobs(jobs), units, worker, func(o *Outcome) error {
		defer o.close()
		return r.add(ctx, o)
	})
	if err == nil && op.Finish != nil {
		err = op.Finish(ctx, r.totals)
	}
	switch {
	case r.err != nil: // it tells more than the cause of ctx
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

func (r *round) add(ctx context.Context, o *Outcome) error {
	if o.Err != nil && o.stage == planning {
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
