package rpmsign

import (
	"context"
	"errors"

	"github.com/imasign/imasign-build/pkg/signing"
)

// loop works on packages as a program's loop over containers does.
type loop struct {
	Options Options // except Output and Outside, which each unit has
	Level   Level   // "" for CheckPayload
	Longest int
	Plan    func(ctx context.Context, p *Package) (*signing.Plan, error)
	Kept    func(signing.Source) signing.Source // for Resume
	DryRun  bool
}

// unit is a package and where it is written.
type unit struct {
	Path, Output, Outside string
}

// result is the result of one package.
type result struct {
	unit
	Name    string
	Counts  signing.Counts
	Source  bool
	Changed bool
	Grows   int64
	Defects []Defect
	Err     error
}

// Run works on one package.
func (l *loop) Run(ctx context.Context, u unit) result {
	o := l.Options
	o.Output, o.Outside = u.Output, u.Outside
	p, err := Open(u.Path, o)
	return l.on(ctx, p, result{unit: u, Err: err})
}

// Resume is Run, but continues what an interrupted run wrote.
func (l *loop) Resume(ctx context.Context, u unit) result {
	o := l.Options
	o.Output, o.Outside = u.Output, u.Outside
	if p, err := Resume(ctx, u.Path, o, l.Kept); err == nil {
		if r := l.on(ctx, p, result{unit: u}); r.Err == nil || ctx.Err() != nil {
			return r
		}
	}
	return l.Run(ctx, u)
}

func (l *loop) on(ctx context.Context, p *Package, r result) result {
	if r.Err == nil {
		r.Err = errors.Join(l.change(ctx, p, &r), p.Close())
	}
	return r
}

func (l *loop) change(ctx context.Context, p *Package, r *result) error {
	r.Name, r.Source, r.Defects = p.Name(), p.Source(), p.Defects()
	plan, err := l.plan(ctx, p)
	if err != nil {
		return err
	}
	defer plan.Close()
	r.Counts = plan.Counts()
	c, err := p.Prepare(ctx, plan)
	if err != nil {
		return err
	}
	r.Changed, r.Grows = c.Any, c.Grows
	if l.DryRun || c.Commit == nil {
		return nil
	}
	return c.Commit(ctx)
}

// plan checks a package and makes a plan. The plan of a source package is empty.
func (l *loop) plan(ctx context.Context, p *Package) (*signing.Plan, error) {
	level := l.Level
	if level == "" {
		level = CheckPayload
	}
	if err := p.Check(ctx, level); err != nil || p.Source() {
		return new(signing.Plan), err
	}
	if l.Longest > 0 {
		if err := p.Signable(ctx, l.Longest, l.Kept); err != nil {
			return nil, err
		}
	}
	return l.Plan(ctx, p)
}
