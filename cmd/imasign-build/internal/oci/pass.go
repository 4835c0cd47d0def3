package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// Pass is one way through a layout: Layers, Open for each of them, Finish, Close. Layers
// are opened and committed one at a time.
type Pass struct {
	walk             *walk
	publish, discard func() error

	docs    documents // set when all documents are written
	docsErr error
	goOn    func() (struct{}, bool) // continues with the documents as far as their layers are written; nil if nothing is written
	stop    func()
}

func newPass(w *walk) *Pass {
	nothing := func() error { return nil }
	return &Pass{walk: w, publish: nothing, discard: nothing}
}

// Look returns a pass that only reads. Committing its layers does nothing, and Finish
// checks that the documents agree with the layers.
func (l *Layout) Look() *Pass { return newPass(newWalk(l, nil)) }

// Rewrite returns a pass that writes the layout, with the committed changes, to a new
// directory. The directory must not exist. It appears with Finish, complete or not at
// all. Layers to which nothing is attached keep their bytes, and images that have only
// such layers keep their digests. Everything that is not replaced is copied.
func (l *Layout) Rewrite(dir string) (*Pass, error) {
	out, err := newDirOutput(dir)
	if err != nil {
		return nil, err
	}
	p := newPass(newWalk(l, out))
	p.publish, p.discard = out.publish, out.discard
	return p, nil
}

// RewriteArchive is like Rewrite, but writes an uncompressed archive to to. Without
// Finish the archive is incomplete.
func (l *Layout) RewriteArchive(to io.Writer) *Pass {
	out := newTarOutput(to, l.store)
	p := newPass(newWalk(l, out))
	p.publish = out.w.Close
	return p
}

// Place is where a layer is.
type Place struct {
	name       string // of its file
	descriptor *descriptor
}

// String returns the layer's name for errors.
func (p Place) String() string {
	if p.descriptor != nil {
		return "layer " + string(p.descriptor.digest)
	}
	return "layer " + p.name
}

// place notes a layer when it is met for the first time.
func (w *walk) place(name string, d *descriptor) {
	if !w.placed[name] {
		w.placed[name] = true
		w.places = append(w.places, Place{name, d})
	}
}

// Layers surveys the documents and returns every layer of every image, each once.
func (p *Pass) Layers(ctx context.Context) ([]Place, error) {
	w := p.walk
	if w.oci {
		if err := w.surveyTop(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if w.docker {
		if err := w.surveyDocker(); err != nil {
			return nil, fmt.Errorf("%s: manifest.json: %w", w.name, err)
		}
	}
	if w.out == nil {
		return w.places, nil
	}
	for _, i := range w.order {
		if i.mode.IsDir() {
			if err := w.out.special(i, ""); err != nil {
				return nil, err
			}
		}
	}
	return w.places, p.write(ctx)
}

// write begins to write the documents in step with the layers: in an archive, each
// manifest follows its layers and precedes those of the next.
func (p *Pass) write(ctx context.Context) error {
	w := p.walk
	p.goOn, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		w.wait = func() bool { return yield(struct{}{}) }
		p.docs, p.docsErr = w.all(ctx)
	})
	p.goOn()
	return p.docsErr
}

// commit writes a layer, and the documents whose layers are then complete.
func (p *Pass) commit(ctx context.Context, l *Layer, plan *signing.Plan) error {
	if err := p.walk.rewriteLayer(ctx, l.met, l.Archive, plan); err != nil {
		return err
	}
	l.met.isWritten = true
	p.goOn()
	return p.docsErr
}

// Layer is an open layer, and the blob that it becomes.
type Layer struct {
	*tarball.Archive

	// Digest identifies the layer. A layer of a docker-archive that has no digest is
	// identified by that of its decompressed content.
	Digest string

	pass *Pass
	walk *walk
	blob *blob
	met  *layer
}

// Open opens a layer. If the layer has a descriptor, Open first checks the blob against
// it.
func (p *Pass) Open(ctx context.Context, at Place) (*Layer, error) {
	b, err := p.walk.open(at.name)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", p.walk.name, at, err)
	}
	l := &Layer{pass: p, walk: p.walk, blob: b, met: &layer{name: at.name, was: rewritten{size: b.size}}}
	if err := l.read(ctx, at); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p.walk.name, err), l.Close())
	}
	l.met.now = l.met.was
	p.walk.layers[at.name] = l.met
	return l, nil
}

func (l *Layer) read(ctx context.Context, at Place) (err error) {
	was := &l.met.was
	if d := at.descriptor; d != nil {
		was.digest, err = d.digest, l.blob.verify(ctx, d)
	} else {
		was.digest, err = l.blob.digest(ctx)
	}
	switch {
	case err != nil && at.descriptor != nil:
		return at.descriptor.named("layer", err)
	case err != nil:
		return fmt.Errorf("%s: %w", at, err)
	}
	if l.Archive, err = tarball.Open(ctx, l.blob.reader(), at.String(), l.walk.opts.Archive); err != nil {
		return err
	}
	if was.diffID, err = diffID(ctx, l.Archive, was.digest); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if l.Digest = string(was.digest); at.descriptor == nil {
		l.Digest = string(was.diffID)
	}
	return nil
}

// Prepare returns the change that writes the blob, compressed as before.
func (l *Layer) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	change := &signing.Change{Any: plan.Counts().Pending() > 0}
	if l.walk.out != nil {
		change.Commit = func(ctx context.Context) error { return l.pass.commit(ctx, l, plan) }
	}
	return change, nil
}

// Close closes the layer.
func (l *Layer) Close() error {
	err := l.blob.Close()
	if l.Archive != nil {
		err = errors.Join(l.Archive.Close(), err)
	}
	return err
}

// Finish updates the documents to the new layers, and publishes the layout. Every layer
// must have been opened before.
func (p *Pass) Finish(ctx context.Context) error {
	w := p.walk
	if w.out == nil {
		_, err := w.all(ctx)
		return err
	}
	for more := true; more; {
		w.wait = nil // there are no further layers
		_, more = p.goOn()
	}
	d, err := p.docs, p.docsErr
	if err != nil {
		return err
	}
	if d.index != nil {
		err = w.putBytes("index.json", w.items["index.json"], d.index)
	}
	if err == nil && d.docker != nil {
		err = w.putBytes("manifest.json", w.items["manifest.json"], d.docker)
	}
	if err == nil {
		err = w.rest(ctx)
	}
	if err != nil {
		return err
	}
	return p.publish()
}

// Close removes what was not published. The Layout stays open.
func (p *Pass) Close() error {
	if p.stop != nil {
		p.stop()
	}
	return p.discard()
}
