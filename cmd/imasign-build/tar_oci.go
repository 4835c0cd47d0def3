package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

const ociHelp = `
--oci processes every layer of the container images in IN: a directory with an OCI image
layout, an oci-archive, or a docker-archive (as docker save and podman save write).`

func addOCI(flags *pflag.FlagSet, oci *bool) {
	flags.BoolVar(oci, "oci", false, "IN is an OCI image layout, an oci-archive or a docker-archive; process all its layers")
}

// containers is what a command for archives works on, in a warning.
func containers(oci bool) string {
	if oci {
		return "any layer"
	}
	return "the archive"
}

// isLayoutDir tells a layout directory from an archive of images.
func isLayoutDir(file string) bool {
	info, err := os.Stat(file)
	return file != "-" && err == nil && info.IsDir()
}

// checkOCI is check for images: a directory becomes a directory.
func (f *tarOutputFlags) checkOCI(a *app, dryRun bool, in string) error {
	switch {
	case !isLayoutDir(in):
		return f.checkArchive(a, dryRun)
	case f.compression != "auto":
		return usagef("--compression is for archives: layers stay compressed as they are")
	case f.file == "-":
		return usagef("%s is a directory and becomes one: -o NEWDIR", in)
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
		sum.Add(p.Counts())
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

// runTarOCI plans and rewrites every layer of the images.
func runTarOCI(ctx context.Context, run *change, in tarInputFlags, out tarOutputFlags, plan planner) error {
	layout, closeLayout, err := in.openOCI(ctx, run.app, run.from, run.progress.observer, out.jobs, false)
	if err != nil {
		return run.notAttached(ctx, err)
	}
	defer closeLayout()
	var all layers
	defer all.close()
	err = all.rewrite(ctx, run, layout, out, plan)
	if err != nil {
		return run.notAttached(ctx, err)
	}
	if err := run.writeLayers(&all); err != nil {
		return err
	}
	run.progress.close()
	run.leftOut = layout.LeftOut()
	return run.report(all.counts(), all.records())
}

// rewrite plans every layer and writes the images as they came.
func (l *layers) rewrite(ctx context.Context, run *change, layout *oci.Layout, out tarOutputFlags, plan planner) error {
	add := func(ctx context.Context, digest string, layer *tarball.Archive) (*signing.Plan, error) {
		p, err := plan(ctx, layer)
		if err == nil {
			l.names, l.plans = append(l.names, digest), append(l.plans, p)
		}
		return p, err
	}
	switch {
	case run.dryRun:
		return layout.Layers(ctx, func(ctx context.Context, digest string, layer *tarball.Archive) error {
			_, err := add(ctx, digest, layer)
			return err
		})
	case isLayoutDir(run.from):
		return layout.Rewrite(ctx, out.file, add)
	}
	return out.write(ctx, run.app, layout.Compression(), func(w io.Writer) error { return layout.RewriteArchive(ctx, w, add) })
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

// openOCI opens a layout directory, or else an archive of images.
func (f *tarInputFlags) openOCI(ctx context.Context, a *app, file string, observe signing.Observer, jobs int, every bool) (*oci.Layout, func(), error) {
	switch {
	case f.unpackLimit <= 0:
		return nil, nil, usagef("--unpack-limit %d: at least 1", f.unpackLimit)
	case f.plain:
		return nil, nil, usagef("--oci and --plain exclude each other")
	}
	o := oci.Options{Archive: tarball.Options{UnpackLimit: f.unpackLimit, EveryRecord: every}, Jobs: jobs, Observe: observe}
	if isLayoutDir(file) {
		layout, err := oci.Open(file, o)
		if err != nil {
			return nil, nil, err
		}
		return layout, func() { _ = layout.Close() }, nil
	}
	in, name, closeInput, err := a.openInput(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	layout, err := oci.OpenArchive(ctx, in, name, o)
	if err != nil {
		closeInput()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, nil, err
	}
	return layout, func() { _ = layout.Close(); closeInput() }, nil
}

// isLayout tells a tree that is an OCI image layout.
func isLayout(dir string) bool {
	for _, name := range []string{"oci-layout", "index.json"} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// refuseImage names an archive of a container image: signed as an archive of files,
// its blobs would get signatures, and the files in its layers none.
func (f *tarInputFlags) refuseImage(archive *tarball.Archive, name string) error {
	kind := oci.ArchiveKind(archive)
	switch kind {
	case "":
		return nil
	case "oci-archive", "docker-archive":
		return fmt.Errorf("%s is a container image (%s): its layers are the archives to work on: add --oci, or --plain to take it for a plain archive of files", name, kind)
	}
	return fmt.Errorf("%s is a container image (%s): unpack it and make a layout of it (skopeo copy dir:DIR oci:LAYOUT:TAG) for --oci, or add --plain to take it for a plain archive of files", name, kind)
}

func runTarVerifyOCI(ctx context.Context, a *app, o tarVerifyOptions, dir string, v *verifier) error {
	layout, closeLayout, err := o.input.openOCI(ctx, a, dir, v.progress.observer, o.engine.jobs, true)
	if err != nil {
		return err
	}
	defer closeLayout()
	result := a.newVerification("tar verify", dir)
	err = layout.Layers(ctx, func(ctx context.Context, digest string, layer *tarball.Archive) error {
		return v.Verify(ctx, o.choice.wrap(layer), signing.Trust{Ring: v.ring}, func(verdict signing.Verdict) error {
			verdict.Path = digest + "/" + verdict.Path
			return result.Take(verdict)
		})
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = cause
		}
		return err
	}
	v.progress.close()
	return a.finish(result, o.allowEmpty)
}
