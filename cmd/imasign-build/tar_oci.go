package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/manifest"
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

// runImages plans and rewrites every layer of the images.
func (t *tarChange) runImages(ctx context.Context, o *operation) error {
	layout, closeLayout, err := t.input.openOCI(ctx, o.app, o.result.Of, o.progress.observer, t.output.jobs, false)
	if err != nil {
		return o.Interrupted(ctx, err)
	}
	defer closeLayout()
	pass, err := t.pass(ctx, o, layout)
	if err != nil {
		return err
	}
	defer pass.Close() //nolint:errcheck // what is left of it is of no use
	totals, err := operate.Each(ctx, 1, layers(ctx, pass, inputName(o.result.Of), o.progress), true, &o.Operation, func(done *operate.Outcome) error {
		if !o.verbose {
			return nil
		}
		return o.result.List(done.Name+"/", done.Plan.Records())
	})
	if err != nil {
		return err
	}
	o.result.AnnotationsLeftOut = layout.LeftOut()
	return o.report(totals.Counts)
}

// imagePass is a pass over images with the file that they are written to.
type imagePass struct {
	*oci.Pass

	file operate.File // nil for a directory, and for none
}

// Close gives up what was not published.
func (p *imagePass) Close() error {
	if p.file != nil {
		p.file.Abort()
	}
	return p.Pass.Close()
}

// Finish publishes the images.
func (p *imagePass) Finish(ctx context.Context, _ operate.Totals) error {
	if err := p.Pass.Finish(ctx); err != nil || p.file == nil {
		return err
	}
	return p.file.Commit()
}

// pass begins the writing of the images as they came.
func (t *tarChange) pass(ctx context.Context, o *operation, layout *oci.Layout) (*imagePass, error) {
	p := &imagePass{}
	o.Finish = p.Finish
	var err error
	switch {
	case o.DryRun:
		p.Pass = layout.Look()
	case isLayoutDir(o.result.Of):
		p.Pass, err = layout.Rewrite(t.output.file)
	default:
		var file *archiveFile
		if file, err = t.output.create(ctx, o.app, layout.Compression()); err == nil {
			p.Pass, p.file = layout.RewriteArchive(file), file
		}
	}
	return p, err
}

// layers are the units of images.
func layers(ctx context.Context, pass *imagePass, name string, progress *progress) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		places, err := pass.Layers(ctx)
		if err != nil {
			yield(operate.Unit{}, err)
			return
		}
		for i, at := range places {
			u := operate.Unit{Path: name + ": " + at.String(), Kind: manifest.Layer, Open: func(ctx context.Context) (operate.Opened, error) {
				progress.layer(i+1, len(places))
				layer, err := pass.Open(ctx, at)
				if err != nil {
					return operate.Opened{}, err
				}
				return operate.Opened{Container: layer, Name: layer.Digest}, nil
			}}
			if !yield(u, nil) {
				return
			}
		}
	}
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
	layout, err := oci.OpenArchive(ctx, a.reading(in), name, o)
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

// verifyImages verifies every layer of the images.
func (v *verifier) verifyImages(ctx context.Context, o tarVerifyOptions, file string) error {
	layout, closeLayout, err := o.input.openOCI(ctx, v.app, file, v.progress.observer, o.engine.jobs, true)
	if err != nil {
		return err
	}
	defer closeLayout()
	result := v.newVerification("tar verify", file)
	err = eachLayer(ctx, inputName(file), layout.Look(), v.progress, func(layer *oci.Layer) error {
		return v.Verify(ctx, o.choice.wrap(layer), signing.Trust{Ring: v.ring}, func(verdict signing.Verdict) error {
			verdict.Path = layer.Digest + "/" + verdict.Path
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
	return v.finish(result, o.allowEmpty)
}

// inputName is what errors call an input, - for standard input.
func inputName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// eachLayer opens the layers one after the other.
func eachLayer(ctx context.Context, name string, pass *oci.Pass, progress *progress, visit func(*oci.Layer) error) error {
	places, err := pass.Layers(ctx)
	if err != nil {
		return err
	}
	for i, at := range places {
		progress.layer(i+1, len(places))
		layer, err := pass.Open(ctx, at)
		if err != nil {
			return err
		}
		err = visit(layer)
		_ = layer.Close() // opened for reading
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, at, err)
		}
	}
	return pass.Finish(ctx)
}
