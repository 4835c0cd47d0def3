package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// change is a command that plans and attaches.
type change struct {
	*app
	command  string
	from     string // the container, as the user named it
	kind     manifest.Container
	name     string // of the container in the manifest; "" for a tree
	output   string // the file that is written; "" where the container itself is changed
	progress *progress
	dryRun   bool
	manifest string         // where to write it, "" for nowhere
	public   *ima.PublicKey // that signs; nil for none
	leftOut  map[string]int // annotations about bytes of an image that changed
	summary  io.Writer
	started  time.Time
}

func newChange(a *app, command, dir string, p *progress, dryRun bool) *change {
	return &change{app: a, command: command, from: dir, kind: manifest.Tree, progress: p, dryRun: dryRun, summary: a.out, started: time.Now()}
}

// newRewrite is a change that writes its result to a file, - for standard output,
// and leaves the container alone.
func newRewrite(a *app, command string, kind manifest.Container, from, output string, p *progress, dryRun bool) *change {
	c := newChange(a, command, from, p, dryRun)
	c.kind, c.output = kind, output
	if from != "-" {
		c.name = filepath.Base(from)
	}
	if output == "-" && !dryRun {
		c.summary = a.err
	}
	return c
}

func (c *change) do(ctx context.Context, plan func() (*signing.Plan, error), attach func(context.Context, *signing.Plan) error) error {
	p, err := plan()
	if err != nil {
		if context.Cause(ctx) != nil {
			return fmt.Errorf("%w while planning: %s is as it was", context.Cause(ctx), c.target())
		}
		return errors.Join(err, errors.New("nothing was changed"))
	}
	defer p.Close() //nolint:errcheck // its file has no name
	commit, discard, err := c.prepareManifest(p)
	if err != nil {
		return errors.Join(err, errors.New("nothing was changed"))
	}
	defer discard()
	if err := c.attach(ctx, p, attach); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return errors.Join(err, errors.New("the manifest is missing, everything else is done: run it again"))
	}
	c.progress.close()
	return c.report(p.Counts(), p.Records())
}

// attach changes the container. From its first moment to its last a tree is either
// finished or restored; an output file can be given up at any time.
func (c *change) attach(ctx context.Context, p *signing.Plan, attach func(context.Context, *signing.Plan) error) error {
	if c.dryRun {
		return nil
	}
	if c.output == "" {
		c.interrupts.attach()
	}
	if err := attach(ctx, p); err != nil {
		return c.notAttached(ctx, err)
	}
	if c.output == "" && c.interrupts.attached() {
		c.note("%s is finished: everything is attached", c.from)
	}
	return nil
}

// target is what the command changes.
func (c *change) target() string {
	switch c.output {
	case "":
		return c.from
	case "-":
		return "standard output"
	}
	return c.output
}

// notAttached says what an interrupt has left of an output file: what was there.
func (c *change) notAttached(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && c.output != "" && c.output != "-" {
		return fmt.Errorf("%w while writing: %s is as it was", cause, c.output)
	}
	return err
}

// prepareManifest writes the manifest before anything is changed, and has it
// appear when everything was.
func (c *change) prepareManifest(p *signing.Plan) (commit func() error, discard func(), err error) {
	if c.manifest == "" {
		return func() error { return nil }, func() {}, nil
	}
	date, err := c.date()
	if err != nil {
		return nil, nil, err
	}
	return c.prepareOutput(c.manifest, func(w io.Writer) error {
		return p.WriteManifest(w, signing.Description{Tool: tool, Container: c.kind, Name: c.name, Date: date})
	})
}

// report prints what was done, of which n are the counts and records the entries.
func (c *change) report(n signing.Counts, records iter.Seq2[signing.Record, error]) error {
	if n.Pending()+n.Unchanged == 0 {
		c.note("warning: there was nothing to do in %s", c.from)
	}
	r := &report.Change{
		Head: report.Head{Command: c.command}, DryRun: c.dryRun, Bytes: n.Bytes, Seconds: time.Since(c.started).Seconds(),
		AnnotationsLeftOut: c.leftOut, Of: c.from, Records: records,
	}
	r.Add(n)
	if c.public != nil {
		r.KeyID = c.public.ID().String()
	}
	if c.manifest == "-" { // standard output is the manifest
		c.summary = c.err
	}
	return c.printTo(c.summary, r, nil)
}
