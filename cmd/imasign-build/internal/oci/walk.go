package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// walk goes through all images of a layout, once for each blob. Without out it only
// looks.
type walk struct {
	*Layout
	out  output
	wait func() bool // for another layer to be written; nil where none comes

	top       object // index.json, when it was surveyed
	places    []Place
	placed    map[string]bool // files of layers
	nodes     map[digest]*node
	sniffed   map[digest]contents
	sizes     map[digest]int64       // of blobs that are what their digests say
	layers    map[string]*layer      // by the file's name
	manifests map[digest]rewritten   // what became of manifests and indexes
	ids       map[string]*configIDs  // of configs, by the file's name
	configs   map[[32]byte]rewritten // what became of configs, by name and new diff ids
	replaced  map[string]string      // files that became another, by name
	tables    map[digest]bool        // layers with a table of contents
	removed   map[string]int         // annotations, how often
	depth     int                    // of manifests that refer to manifests
}

func newWalk(l *Layout, out output) *walk {
	return &walk{
		Layout: l, out: out, placed: map[string]bool{}, nodes: map[digest]*node{}, sniffed: map[digest]contents{}, sizes: map[digest]int64{}, layers: map[string]*layer{},
		manifests: map[digest]rewritten{}, ids: map[string]*configIDs{}, configs: map[[32]byte]rewritten{},
		replaced: map[string]string{}, removed: map[string]int{}, tables: map[digest]bool{},
	}
}

func (w *walk) warn(path, message string) { w.opts.Observe.Warn(path, message) }

// documents are the files that list the images; nil where there is none.
type documents struct{ index, docker []byte }

// all goes through everything, and returns what the documents became.
func (w *walk) all(ctx context.Context) (d documents, err error) {
	if w.oci {
		if d.index, err = w.index(ctx); err != nil {
			return d, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if w.docker {
		if d.docker, err = w.dockerManifest(); err != nil {
			return d, fmt.Errorf("%s: manifest.json: %w", w.name, err)
		}
	}
	w.tellRemoved()
	return d, w.unchanged()
}

// surveyTop looks at the layout's own index and all below it.
func (w *walk) surveyTop(ctx context.Context) error {
	text, err := w.text("index.json")
	if err != nil {
		return asFormat(err)
	}
	index, err := parseObject(text, indexKeys)
	if err == nil && index["manifests"] == nil {
		err = fmt.Errorf("%w: it has no manifests", ErrFormat)
	}
	if err == nil {
		err = w.classify(ctx, index, &node{}, 0)
	}
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	w.top = index
	return nil
}

// index goes through the layout's own index.
func (w *walk) index(ctx context.Context) ([]byte, error) {
	if err := w.list(ctx, w.top); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return json.MarshalIndent(w.top, "", "   ")
}

// list goes through what an index lists.
func (w *walk) list(ctx context.Context, index object) error {
	list, err := index.descriptors("manifests")
	if err != nil {
		return err
	}
	kept := list[:0]
	for i := range list {
		keep, err := w.manifest(ctx, &list[i])
		if err != nil {
			return err
		}
		if keep {
			kept = append(kept, list[i])
		}
	}
	if len(kept) == 0 && string(index["manifests"]) == "null" {
		return nil
	}
	return index.setDescriptors("manifests", kept)
}

// manifest goes through one entry of an index and has d name what became of it. It is
// not kept if it is a signature or the like of an image that changed.
func (w *walk) manifest(ctx context.Context, d *descriptor) (keep bool, err error) {
	n := w.nodes[d.digest]
	to := w.refersTo(d)
	now, changed, err := w.target(ctx, to)
	if err != nil {
		return false, err
	}
	if changed && !n.runs {
		if w.out != nil {
			w.warn(string(d.digest), fmt.Sprintf("is a signature, attestation or the like of %s, which is now %s: it is left out of the index; make it anew", to, now.digest))
		}
		return false, nil
	}
	was := rewritten{digest: d.digest, size: d.size}
	became, met := w.manifests[d.digest]
	if !met {
		if became, err = w.rewriteManifest(ctx, d, n); err != nil {
			return false, fmt.Errorf("%s: %w", d.digest, err)
		}
		w.manifests[d.digest] = became
	}
	if changed && d.annotations["vnd.docker.reference.digest"] != "" {
		d.annotations["vnd.docker.reference.digest"] = string(now.digest)
		if err := d.set("annotations", d.annotations); err != nil {
			return false, err
		}
	}
	return true, w.point(d, was, became)
}

// target is what became of the image that something refers to.
func (w *walk) target(ctx context.Context, to digest) (now rewritten, changed bool, err error) {
	n, there := w.nodes[to]
	if !there || w.out == nil {
		return now, false, nil
	}
	now, met := w.manifests[to]
	if !met {
		if w.depth++; w.depth > maxChain {
			return now, false, fmt.Errorf("%w: manifests that refer to manifests, more than %d in a row", ErrFormat, maxChain)
		}
		defer func() { w.depth-- }()
		d := descriptor{object: object{}, digest: to, size: n.size}
		if _, err := w.manifest(ctx, &d); err != nil {
			return now, false, err
		}
		now = w.manifests[to]
	}
	return now, now.digest != "" && now.digest != to, nil
}

func (w *walk) rewriteManifest(ctx context.Context, d *descriptor, n *node) (rewritten, error) {
	same := rewritten{digest: d.digest, size: d.size}
	if n.kind == other {
		return same, w.copyBlob(ctx, d)
	}
	o, err := w.document(d, indexKeys)
	if err != nil {
		return same, err
	}
	before, err := json.Marshal(o)
	if err != nil {
		return same, err
	}
	if n.kind == index {
		err = w.list(ctx, o)
	} else {
		err = w.image(ctx, o, n)
	}
	if err != nil {
		return same, err
	}
	return w.put(ctx, d, before, o)
}

// image goes through a manifest's layers and brings its config up to date.
func (w *walk) image(ctx context.Context, manifest object, n *node) error {
	layers, err := manifest.descriptors("layers")
	if err != nil {
		return err
	}
	met := make([]*layer, len(layers))
	for i := range layers {
		if met[i], err = w.ociLayer(ctx, &layers[i]); err != nil {
			return err
		}
	}
	config, there, err := manifest.one("config")
	if err != nil {
		return err
	}
	if there {
		if err := w.ociConfig(ctx, &config, met, n); err != nil {
			return err
		}
		if err := manifest.set("config", config.object); err != nil {
			return err
		}
	}
	if manifest["layers"] != nil && len(layers) > 0 {
		err = manifest.setDescriptors("layers", layers)
	}
	return firstError(err, w.subject(ctx, manifest), w.afterLayers(manifest, met))
}

// afterLayers takes away what a manifest says about layers that changed.
func (w *walk) afterLayers(manifest object, met []*layer) error {
	for _, l := range met {
		if l != nil && l.isChanged {
			return w.cleanOwn(manifest, l.was)
		}
	}
	return nil
}

// subject has an image refer to what became of the image that it refers to.
func (w *walk) subject(ctx context.Context, manifest object) error {
	d, there, err := manifest.one("subject")
	if err != nil || !there {
		return err
	}
	now, changed, err := w.target(ctx, d.digest)
	if err == nil && changed {
		err = w.point(&d, rewritten{digest: d.digest}, now)
	}
	return firstError(err, manifest.set("subject", d.object))
}

// ociLayer has d name what became of a layer. Blobs that are no tar archives stay; they
// have no layer.
func (w *walk) ociLayer(ctx context.Context, d *descriptor) (*layer, error) {
	if w.sniffed[d.digest] != archive {
		return nil, w.copyBlob(ctx, d)
	}
	met, err := w.met(d.digest.path())
	if err != nil {
		return nil, d.named("layer", err)
	}
	if err := sameSize(d, met.was.size); err != nil {
		return nil, err
	}
	if w.out == nil {
		return met, nil
	}
	return met, w.point(d, met.was, met.now)
}

// met is the layer in a file, which is waited for.
func (w *walk) met(name string) (*layer, error) {
	for {
		met, there := w.layers[name]
		switch {
		case there && (met.isWritten || w.out == nil):
			return met, nil
		case w.wait == nil || !w.wait():
			return nil, errors.New("it was not opened")
		}
	}
}
