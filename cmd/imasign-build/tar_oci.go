package main

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/oci"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

func addOCI(flags *pflag.FlagSet, oci *bool) {
	flags.BoolVar(oci, "oci", false, "IN is an OCI image layout directory, of which every layer is taken; OUT a new directory")
}

// checkOCI is check for an output that is a directory.
func (f *tarOutputFlags) checkOCI(dryRun bool) error {
	switch {
	case f.compression != "auto":
		return usagef("--compression is for archives: layers stay compressed as they are")
	case f.file == "-":
		return usagef("--oci writes a directory: -o NEWDIR")
	case f.file == "" && !dryRun:
		return usagef("where to? -o NEWDIR")
	}
	return nil
}

// planner plans one container.
type planner func(context.Context, signing.Source) (*signing.Plan, error)

// layers are the plans of a layout's layers.
type layers struct {
	names []string
	plans []*signing.Plan
}

func (l *layers) close() {
	for _, p := range l.plans {
		_ = p.Close()
	}
}

func (l *layers) counts() (sum signing.Counts) {
	for _, p := range l.plans {
		sum.Sum(p.Counts())
	}
	return sum
}

// records yields all records, their paths below the digests of the layers.
func (l *layers) records() iter.Seq2[signing.Record, error] {
	return func(yield func(signing.Record, error) bool) {
		for i, p := range l.plans {
			for r, err := range p.Records() {
				r.Path = l.names[i] + "/" + r.Path
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

// runTarOCI plans and rewrites every layer of a layout.
func runTarOCI(ctx context.Context, run *change, in tarInputFlags, out tarOutputFlags, plan planner) error {
	layout, err := in.openOCI(run.from, run.progress.observer, out.jobs, false)
	if err != nil {
		return err
	}
	var all layers
	defer all.close()
	add := func(ctx context.Context, digest string, layer *tarball.Archive) (*signing.Plan, error) {
		p, err := plan(ctx, layer)
		if err == nil {
			all.names, all.plans = append(all.names, digest), append(all.plans, p)
		}
		return p, err
	}
	if run.dryRun {
		err = layout.Layers(ctx, func(ctx context.Context, digest string, layer *tarball.Archive) error {
			_, err := add(ctx, digest, layer)
			return err
		})
	} else {
		err = layout.Rewrite(ctx, out.file, add)
	}
	if err != nil {
		return run.notAttached(ctx, err)
	}
	if err := run.writeLayers(&all); err != nil {
		return err
	}
	run.progress.close()
	return run.report(all.counts(), all.records())
}

// writeLayers writes the manifest, of which each layer has its part.
func (c *change) writeLayers(all *layers) error {
	if c.manifest == "" {
		return nil
	}
	date, err := c.date()
	if err != nil {
		return err
	}
	return c.writeOutput(c.manifest, func(w io.Writer) error {
		for i, p := range all.plans {
			if err := p.WriteManifest(w, signing.Description{Tool: tool, Container: c.kind, Name: all.names[i], Date: date}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *tarInputFlags) openOCI(dir string, observe signing.Observer, jobs int, every bool) (*oci.Layout, error) {
	if f.unpackLimit <= 0 {
		return nil, usagef("--unpack-limit %d: at least 1", f.unpackLimit)
	}
	return oci.Open(dir, oci.Options{
		Archive: tarball.Options{UnpackLimit: f.unpackLimit, EveryRecord: every}, Jobs: jobs, Observe: observe,
	})
}

func runTarVerifyOCI(ctx context.Context, a *app, o tarVerifyOptions, dir string, v *verifier) error {
	layout, err := o.input.openOCI(dir, v.progress.observer, o.engine.jobs, true)
	if err != nil {
		return err
	}
	report := verifyReport{app: a, Command: "tar verify", allowEmpty: o.allowEmpty}
	err = layout.Layers(ctx, func(ctx context.Context, digest string, layer *tarball.Archive) error {
		return v.Verify(ctx, layer, v.ring, nil, func(verdict signing.Verdict) error {
			verdict.Path = digest + "/" + verdict.Path
			return report.take(verdict)
		})
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = cause
		}
		return err
	}
	v.progress.close()
	return report.finish(dir)
}
