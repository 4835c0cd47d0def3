package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// walk goes through all images of a layout, and each blob once. Without out it only reads.
type walk struct {
	*Layout
	out  output
	wait func() bool // waits until another layer is written; nil if there are no more

	top       object // index.json, when it was surveyed
	places    []Place
	placed    map[string]bool // files of layers
	nodes     map[digest]*node
	sniffed   map[digest]contents
	sizes     map[digest]int64       // of blobs whose digests were checked
	layers    map[string]*layer      // by the file's name
	manifests map[digest]rewritten   // new manifests and indexes
	ids       map[string]*configIDs  // of configs, by the file's name
	configs   map[[32]byte]rewritten // new configs, by name and new diff ids
	replaced  map[string]string      // new names of files, by old name
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

// documents are the files that list the images, nil for a file that the layout lacks.
type documents struct{ index, docker []byte }

// all goes through everything, and returns the new documents.
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

// surveyTop surveys the layout's own index and everything below it.
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

// list goes through the entries of an index.
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

// manifest goes through one entry of an index and makes d name the new blob. The entry is
// not kept if it is a signature, attestation or the like of an image that changed.
func (w *walk) manifest(ctx context.Context, d *descriptor) (keep bool, err error) {
	n := w.nodes[d.digest]
	to := w.refersTo(d)
	now, changed, err := w.target(ctx, to)
	if err != nil {
		return false, err
	}
	if changed && !n.runs {
		if w.out != nil {
			w.warn(string(d.digest), fmt.Sprintf("is a signature, attestation or the like of %s, which is now %s: it is left out of the index; make a new one", to, now.digest))
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

// target returns the new digest of an image that something refers to.
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

// image goes through a manifest's layers and updates its config.
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

// afterLayers removes what a manifest says about layers that changed.
func (w *walk) afterLayers(manifest object, met []*layer) error {
	for _, l := range met {
		if l != nil && l.isChanged {
			return w.cleanOwn(manifest, l.was)
		}
	}
	return nil
}

// subject makes an image refer to the new digest of its subject.
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

// ociLayer makes d name the new blob of a layer. Blobs that are not tar archives stay
// unchanged, and ociLayer returns no layer for them.
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

// met returns the layer in a file, and waits until it is written.
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
