package repo

import (
	"context"
	"errors"
	"iter"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// loop changes packages through operate, as the program does.
type loop struct {
	Options rpmsign.Options // except Output and Outside, which each unit has
	Plan    func(context.Context, signing.Source) (*signing.Plan, error)
	DryRun  bool
	jobs    int
}

// result is the result of one package.
type result struct {
	Path, Name string
	Changed    bool
	Err        error
}

// sign is Sign with a loop that passes results that are news to take.
func sign(ctx context.Context, l *loop, o Options, take func(result) error) (Summary, error) {
	l.jobs, o.DryRun = o.Jobs, l.DryRun
	o.Packages = func(ctx context.Context, units []rpmfiles.Unit, note func(Outcome) bool, finish func(context.Context) error) error {
		return l.each(ctx, units, finish, func(r result) error {
			if !note(Outcome{r.Path, r.Changed, r.Err}) {
				return nil
			}
			return take(r)
		})
	}
	return Sign(ctx, o)
}

// Run works on one package.
func (l *loop) Run(ctx context.Context, u rpmfiles.Unit) (r result) {
	if err := l.each(ctx, []rpmfiles.Unit{u}, nil, func(one result) error { r = one; return nil }); err != nil {
		r.Err = err
	}
	return r
}

func (l *loop) each(ctx context.Context, units []rpmfiles.Unit, finish func(context.Context) error, take func(result) error) error {
	op := operate.Operation{DryRun: l.DryRun, Plan: func(ctx context.Context, _ string, src signing.Source) (*signing.Plan, error) {
		return l.Plan(ctx, src)
	}}
	if finish != nil {
		op.Finish = func(ctx context.Context, _ operate.Totals) error { return finish(ctx) }
	}
	_, err := operate.Each(ctx, l.jobs, operate.Of(l.units(units)), false, &op, func(o *operate.Outcome) error {
		return take(result{o.Unit.Path, o.Name, o.Change.Any, o.Err})
	})
	return err
}

func (l *loop) units(list []rpmfiles.Unit) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		for _, u := range list {
			o := l.Options
			o.Output, o.Outside = u.Output, u.Outside
			unit := operate.Unit{Path: u.Path, Kind: manifest.Package, Open: func(ctx context.Context) (operate.Opened, error) {
				p, err := rpmsign.Open(u.Path, o)
				return opened(ctx, p, err)
			}}
			if u.Output != "" {
				unit.Instead = unit.Open
				unit.Open = func(ctx context.Context) (operate.Opened, error) {
					p, err := rpmsign.Resume(ctx, u.Path, o, nil)
					return opened(ctx, p, err)
				}
			}
			if !yield(unit, nil) {
				return
			}
		}
	}
}

func opened(ctx context.Context, p *rpmsign.Package, err error) (operate.Opened, error) {
	if err != nil {
		return operate.Opened{}, err
	}
	o := operate.Opened{Container: p, Name: p.Name()}
	if p.Source() {
		o.Skip = rpmsign.ErrSource.Error()
	}
	if err := p.Check(ctx, rpmsign.CheckPayload); err != nil {
		return operate.Opened{}, errors.Join(err, p.Close())
	}
	return o, nil
}
