package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Signing is how packages are signed, stripped or given what a manifest states.
type Signing struct {
	Options Options // but Output, which is each unit's
	Level   Level   // what is checked first; "" for CheckPayload
	// Longest is the length of the longest signature to come, in bytes, which
	// decides whether a package can hold them; 0 where that is not known.
	Longest int
	// Plan makes a package's plan, with an Engine that all share.
	Plan func(ctx context.Context, p *Package) (*signing.Plan, error)
	// DryRun plans only.
	DryRun bool
	// Describe, unless nil, has every result carry the manifest of its plan.
	Describe *signing.Description
}

// Result is what became of one package.
type Result struct {
	Unit
	Name     string // name-version-release.arch
	Counts   signing.Counts
	Source   bool     // a source package, left alone
	Changed  bool     // written anew, or would be but for DryRun
	Grows    int64    // bytes that the package becomes longer
	Defects  []Defect // that its file signatures had
	Manifest []byte
	Err      error // why nothing came of it; it names the package
}

// Run works on one package. The errors are those of Open, Check, Signable, the
// plan and Attach; whatever happens, the package is whole.
func (s *Signing) Run(ctx context.Context, u Unit) Result {
	r := Result{Unit: u}
	options := s.Options
	options.Output = u.Output
	p, err := Open(u.Path, options)
	if err != nil {
		r.Err = err
		return r
	}
	r.Err = errors.Join(s.run(ctx, p, &r), p.Close())
	return r
}

func (s *Signing) run(ctx context.Context, p *Package, r *Result) error {
	r.Name, r.Source, r.Defects = p.Name(), p.Source(), p.Defects()
	level := s.Level
	if level == "" {
		level = CheckPayload
	}
	if err := p.Check(ctx, level); err != nil {
		return err
	}
	if r.Source {
		return s.copySource(ctx, p)
	}
	if s.Longest > 0 {
		if err := p.Signable(s.Longest); err != nil {
			return err
		}
	}
	plan, err := s.Plan(ctx, p)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	defer plan.Close() //nolint:errcheck // its file has no name
	r.Counts = plan.Counts()
	if err := s.describe(plan, r); err != nil {
		return err
	}
	if plan.Attachable() != nil { // without a key
		return r.change()
	}
	raw, err := p.signatureHeader(plan)
	if err != nil {
		return fmt.Errorf("write %s: %w", p.path, err)
	}
	if raw != nil {
		if err := r.change(); err != nil {
			return err
		}
		r.Grows = padded(int64(len(raw))) - padded(int64(len(p.sig.raw)))
	}
	if s.DryRun {
		return nil
	}
	return p.replace(ctx, raw, r.Counts.Pending())
}

// change notes that the package is to be written anew. One outside of what was named
// is not.
func (r *Result) change() error {
	if r.Outside != "" {
		return fmt.Errorf("write %s, which is %s: %w", r.Path, r.Outside, ErrOutside)
	}
	r.Changed = true
	return nil
}

// copySource has a source package be among the output as it is.
func (s *Signing) copySource(ctx context.Context, p *Package) error {
	if s.DryRun || p.options.Output == "" {
		return nil
	}
	return p.replace(ctx, nil, 0)
}

func (s *Signing) describe(plan *signing.Plan, r *Result) error {
	if s.Describe == nil {
		return nil
	}
	d := *s.Describe
	d.Container, d.Name = manifest.Package, r.Name
	var text bytes.Buffer
	if err := plan.WriteManifest(&text, d); err != nil {
		return fmt.Errorf("%s: write its manifest: %w", r.Path, err)
	}
	r.Manifest = text.Bytes()
	return nil
}

// Each has work done on the units, jobs at a time, and hands the results to take
// in the order of the units, on one goroutine. An error of take, and the end of
// ctx, end it; packages that were not begun are left alone.
func Each[T any](ctx context.Context, jobs int, units []Unit, work func(context.Context, Unit) T, take func(T) error) error {
	jobs = max(1, jobs)
	g, ctx := errgroup.WithContext(ctx)
	todo, order := make(chan func()), make(chan chan T, 4*jobs)
	g.Go(func() error {
		defer close(todo)
		defer close(order)
		for _, u := range units {
			if err := hand(ctx, todo, order, func() T { return work(ctx, u) }); err != nil {
				return err
			}
		}
		return nil
	})
	for range jobs {
		g.Go(func() error {
			for run := range todo {
				run()
			}
			return nil
		})
	}
	g.Go(func() error {
		for result := range order {
			if r, begun := <-result; begun {
				if err := take(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return g.Wait()
}

// hand gives one piece of work to whoever is free, and its result a place in the
// order; the place is closed when nobody gets it.
func hand[T any](ctx context.Context, todo chan<- func(), order chan<- chan T, work func() T) error {
	result := make(chan T, 1)
	select {
	case order <- result:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case todo <- func() { result <- work() }:
		return nil
	case <-ctx.Done():
		close(result)
		return context.Cause(ctx)
	}
}

// MakeOutputDirs makes the directories that the units' outputs go to.
func MakeOutputDirs(units []Unit) error {
	made := map[string]bool{}
	for _, u := range units {
		if dir := filepath.Dir(u.Output); u.Output != "" && !made[dir] {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			made[dir] = true
		}
	}
	return nil
}
