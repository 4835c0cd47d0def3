package main

import (
	"context"
	"io"
	"path/filepath"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// operation is a command that changes a tree, an archive or the layers of images, and
// reports it.
type operation struct {
	*app
	operate.Operation

	progress *progress
	result   report.Change
	summary  io.Writer // destination of the report
	started  time.Time
}

// newOperation starts an operation on from, the tree or archive that the user named. plan is nil
// if signs sets it, or if there is nothing to plan.
func newOperation(a *app, command, from string, p *progress, plan planner, dryRun bool) *operation {
	return &operation{
		app: a, progress: p, summary: a.out, started: time.Now(),
		Operation: operate.Operation{
			Plan:   plan.ofAny,
			DryRun: dryRun, Guard: a.interrupts, Target: from,
		},
		result: report.Change{Head: report.Head{Command: command}, DryRun: dryRun, Of: from},
	}
}

// signs makes an operation one that signs the chosen files: it compiles the choice and opens the
// keys. end closes them, and warns of patterns that matched nothing in where.
func (o *operation) signs(ctx context.Context, f *signerFlags, choice *selectFlags, where string) (end func(), err error) {
	if err := choice.compile(o.progress.observer); err != nil {
		return nil, err
	}
	s, err := newSigner(ctx, o.app, f, o.progress.observer)
	if err != nil {
		return nil, err
	}
	o.started = time.Now() // the time of asking for passphrases is not the work's
	o.Plan, o.Select = planner(s.Plan).ofAny, choice.wrap
	o.keeps(s.receipts)
	if o.signedBy(s.public); s.together() {
		o.Waiting = waitingLayers
	}
	return func() {
		s.close()
		choice.warn(o.app, where)
	}, nil
}

// signedBy sets the signing key, nil for none.
func (o *operation) signedBy(key *ima.PublicKey) {
	if key != nil {
		o.result.KeyID = key.ID().String()
	}
}

// keeps sets the file of the receipts, nil for none.
func (o *operation) keeps(r *receipts) {
	if r != nil {
		o.Receipts = r
	}
}

// planner plans one container.
type planner func(context.Context, signing.Source) (*signing.Plan, error)

// ofAny plans a container and ignores its name.
func (p planner) ofAny(ctx context.Context, _ string, src signing.Source) (*signing.Plan, error) {
	return p(ctx, src)
}

// writes sets the file that the operation writes. For "-", standard output, the report goes
// to standard error.
func (o *operation) writes(file string) {
	switch {
	case file == "": // in a dry run
		return
	case file != "-":
		o.Target = file
		return
	case !o.DryRun:
		o.summary = o.err
	}
	o.Target, o.Stream = "standard output", true
}

// lists sets the file of the manifest, "" for none.
func (o *operation) lists(file string) error {
	if file == "" {
		return nil
	}
	date, err := o.date()
	if err != nil {
		return err
	}
	o.Manifest = &operate.Manifest{Description: signing.Description{Tool: tool(), Date: date}, Create: func() (operate.File, error) {
		return o.createLate(file)
	}}
	if file == "-" {
		o.summary = o.err
	}
	return nil
}

// run works on one container.
func (o *operation) run(ctx context.Context, u operate.Unit) error {
	u.Path = o.result.Of
	return operate.Run(ctx, u, &o.Operation, func(done *operate.Outcome) error {
		if done.Waited {
			o.note("%s is finished: everything is attached", o.result.Of)
		}
		o.result.Records = done.Plan.Records()
		return o.report(done.Plan.Counts())
	})
}

// report prints the result.
func (o *operation) report(n signing.Counts) error {
	o.progress.close()
	if n.Pending()+n.Unchanged == 0 {
		o.note("warning: there was nothing to do in %s", o.result.Of)
	}
	o.result.Add(n)
	o.result.Bytes, o.result.Seconds = n.Bytes, time.Since(o.started).Seconds()
	return o.printTo(o.summary, &o.result, nil)
}

// nameOf returns the name of an archive in the manifest, "" for standard input.
func nameOf(file string) string {
	if file == "-" {
		return ""
	}
	return filepath.Base(file)
}
