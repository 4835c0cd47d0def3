package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

const ociHelp = `
With --oci, IN contains container images, and all their layers are processed. IN is then a
directory with an OCI image layout, an oci-archive, or a docker-archive, which docker save
and podman save write.
`

func addOCI(flags *pflag.FlagSet, oci *bool) {
	flags.BoolVar(oci, "oci", false, "process all layers of the container images in IN")
}

// containers returns what warnings call the input of a command for archives.
func containers(oci bool) string {
	if oci {
		return "any layer"
	}
	return "the archive"
}

// isLayoutDir reports whether file is a directory, not an archive of images.
func isLayoutDir(file string) bool {
	info, err := os.Stat(file)
	return file != "-" && err == nil && info.IsDir()
}

// checkOCI is check for images. The copy of a directory is a directory.
func (f *tarOutputFlags) checkOCI(a *app, dryRun bool, in string) error {
	switch {
	case !isLayoutDir(in):
		return f.checkArchive(a, dryRun)
	case f.compression != "auto":
		return usagef("--compression is for archives: layers keep their compression")
	case f.file == "-":
		return usagef("%s is a directory, and so is its copy: -o OUT must name a new directory", in)
	case f.file == "" && !dryRun:
		return usagef("no output was given: -o OUT, a new directory")
	}
	return nil
}

// waitingLayers is the number of layers in progress with a slow key. Each takes the space of its
// decompressed archive.
const waitingLayers = 4

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
	defer pass.Close() //nolint:errcheck // its temporary files are useless
	totals, err := operate.Each(ctx, 1, operate.Of(layers(ctx, pass, inputName(o.result.Of), o.progress)), true, &o.Operation, func(done *operate.Outcome) error {
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

// imagePass is a pass over images and its output file.
type imagePass struct {
	*oci.Pass

	file operate.File // nil for a directory, and for none
}

// Close discards images that were not published.
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

// pass starts a pass that writes the images in the form of the input.
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

// layers yields the units of images.
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

// openOCI opens a layout directory or an archive of images.
func (f *tarInputFlags) openOCI(ctx context.Context, a *app, file string, observe signing.Observer, jobs int, every bool) (*oci.Layout, func(), error) {
	if f.plain {
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

// isLayout reports whether a tree is an OCI image layout.
func isLayout(dir string) bool {
	for _, name := range []string{"oci-layout", "index.json"} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// refuseImage refuses the archive of a container image, and an opkg package. Signed as an
// archive of files, their blobs would get signatures, but the files inside would not.
func (f *tarInputFlags) refuseImage(archive *tarball.Archive, name string) error {
	kind := oci.ArchiveKind(archive)
	switch kind {
	case "":
		content := archive.Content()
		if inside, err := image.Recognise(content, content.Size()); err != nil || inside.Name != "ipk" {
			return err
		}
		return fmt.Errorf("%s is an opkg package, which is not supported: use the tree that it is installed in, or add --plain to treat it as any other archive", name)
	case "oci-archive", "docker-archive":
		return fmt.Errorf("%s is a container image (%s): add --oci to process its layers, or --plain to treat it as any other archive", name, kind)
	}
	return fmt.Errorf("%s is a container image (%s): unpack it and make a layout of it for --oci (skopeo copy dir:DIR oci:LAYOUT:TAG), or add --plain to treat it as any other archive", name, kind)
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
		return v.container(ctx, layer, func(verdict signing.Verdict) error {
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
	return v.conclude(result)
}

// inputName returns the name of an input in errors. "-" is standard input.
func inputName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// eachLayer calls visit for each open layer, one after the other.
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
