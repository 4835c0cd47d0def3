package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/imasign/imasign-build/pkg/tarball"
)

// walk goes through all images of a layout, once for each blob. Without out it only
// looks.
type walk struct {
	*Layout
	out   output
	layer func(context.Context, *layer, *tarball.Archive) error

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
		Layout: l, out: out, nodes: map[digest]*node{}, sniffed: map[digest]contents{}, sizes: map[digest]int64{}, layers: map[string]*layer{},
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
		if d.docker, err = w.dockerManifest(ctx); err != nil {
			return d, fmt.Errorf("%s: manifest.json: %w", w.name, err)
		}
	}
	w.tellRemoved()
	return d, w.unchanged()
}

// index goes through the layout's own index.
func (w *walk) index(ctx context.Context) ([]byte, error) {
	text, err := w.text("index.json")
	if err != nil {
		return nil, asFormat(err)
	}
	index, err := parseObject(text, indexKeys)
	if err == nil && index["manifests"] == nil {
		err = fmt.Errorf("%w: it has no manifests", ErrFormat)
	}
	top := &node{}
	if err == nil {
		err = w.classify(ctx, index, top, 0)
	}
	if err == nil {
		err = w.list(ctx, index)
	}
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return json.MarshalIndent(index, "", "   ")
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

// ociLayer goes through a layer, the first time that it is met, and has d name what
// became of it. Blobs that are no tar archives stay; they have no layer.
func (w *walk) ociLayer(ctx context.Context, d *descriptor) (*layer, error) {
	name := d.digest.path()
	if w.sniffed[d.digest] != archive {
		return nil, w.copyBlob(ctx, d)
	}
	met, err := w.anyLayer(ctx, name, d)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", d.digest, err)
	}
	if err := sameSize(d, met.was.size); err != nil {
		return nil, err
	}
	if w.out == nil {
		return met, nil
	}
	return met, w.point(d, met.was, met.now)
}

// anyLayer goes through the layer in a file, once.
func (w *walk) anyLayer(ctx context.Context, name string, d *descriptor) (*layer, error) {
	if met, there := w.layers[name]; there {
		return met, nil
	}
	var met *layer
	err := w.withLayer(ctx, name, d, func(l *layer, a *tarball.Archive) error {
		met = l
		return w.layer(ctx, l, a)
	})
	if err != nil {
		return nil, err
	}
	w.layers[name] = met
	return met, nil
}

// configIDs are the diff ids in a config, which can be many, by their digest.
type configIDs struct {
	n   int
	sum [32]byte
}

func sumIDs(ids []string) configIDs {
	return configIDs{len(ids), sha256.Sum256([]byte(strings.Join(ids, "\n")))}
}

// diffIDs reads the diff ids in a config's blob, nil for something else than the
// config of an image.
func (w *walk) diffIDs(ctx context.Context, d *descriptor) (*configIDs, error) {
	if err := w.verify(ctx, d); err != nil {
		return nil, err
	}
	name := d.digest.path()
	if ids, met := w.ids[name]; met {
		return ids, nil
	}
	head, err := w.head(d)
	if err != nil {
		return nil, err
	}
	var ids *configIDs
	if text := strings.TrimLeft(string(head), " \t\r\n"); isConfig(d.mediaType) || text == "" && len(head) > 0 || strings.HasPrefix(text, "{") {
		ids, err = w.idsIn(name)
	}
	if err == nil {
		w.ids[name] = ids
	}
	return ids, err
}

func (w *walk) idsIn(name string) (*configIDs, error) {
	text, err := w.text(name)
	if err != nil {
		return nil, err
	}
	_, _, ids, err := parseConfig(text)
	if err != nil || ids == nil {
		return nil, err
	}
	sum := sumIDs(ids)
	return &sum, nil
}

// parseConfig returns the config and its rootfs with its diff ids, nil for none.
func parseConfig(text []byte) (config, rootfs object, ids []string, err error) {
	if config, err = parseObject(text, configKeys); err != nil {
		return nil, nil, nil, err
	}
	part, there := config["rootfs"]
	if !there {
		return config, nil, nil, nil
	}
	if rootfs, err = asObject(part, rootfsKeys); err != nil {
		return nil, nil, nil, err
	}
	if err := rootfs.get("diff_ids", &ids); err != nil {
		return nil, nil, nil, err
	}
	if ids == nil && rootfs["diff_ids"] != nil {
		ids = []string{}
	}
	return config, rootfs, ids, nil
}

// ociConfig holds that a config's diff ids are those of the layers, and puts those
// that they got into it.
func (w *walk) ociConfig(ctx context.Context, d *descriptor, met []*layer, n *node) error {
	ids, err := w.diffIDs(ctx, d)
	noIDs := sumIDs(nil)
	if err != nil {
		return fmt.Errorf("config %s: %w", d.digest, err)
	}
	if ids == nil && isConfig(d.mediaType) && n.runs {
		ids = &noIDs
	}
	if n.kind != image || ids == nil {
		return w.copyBlob(ctx, d)
	}
	if err := ids.check(met); err != nil {
		return fmt.Errorf("config %s: %w", d.digest, err)
	}
	became, err := w.config(d.digest.path(), met)
	if err != nil || w.out == nil {
		return err
	}
	return w.point(d, rewritten{digest: d.digest, size: d.size}, became)
}

// check compares the diff ids in a config with those of the layers.
func (c *configIDs) check(met []*layer) error {
	was := make([]string, len(met))
	for i, l := range met {
		if l != nil {
			was[i] = string(l.was.diffID)
		}
	}
	if c.n != len(met) {
		return fmt.Errorf("%w: %d layers, but %d diff ids in the config", ErrFormat, len(met), c.n)
	}
	if *c != sumIDs(was) {
		return fmt.Errorf("%w: the diff ids in the config are not those of the layers", ErrFormat)
	}
	return nil
}

// config writes a config with the diff ids that its layers have got.
func (w *walk) config(name string, met []*layer) (rewritten, error) {
	if w.out == nil {
		return rewritten{}, nil
	}
	now := make([]string, len(met))
	changed := false
	for i, l := range met {
		now[i] = string(l.now.diffID)
		changed = changed || l.was.diffID != l.now.diffID
	}
	sum := sumIDs(append(now[:len(now):len(now)], name))
	if became, there := w.configs[sum.sum]; there {
		return became, nil
	}
	text, err := w.text(name)
	if err != nil {
		return rewritten{}, err
	}
	became := text
	if changed {
		if became, err = changeIDs(text, now); err != nil {
			return rewritten{}, err
		}
	}
	result := rewritten{digest: digestOfBytes(became), size: int64(len(became))}
	if named := blobDigest(name); named != "" && bytes.Equal(became, text) {
		result.digest = named // which may be another algorithm's
	}
	w.configs[sum.sum] = result
	return result, w.putConfig(name, text, became)
}

func changeIDs(text []byte, ids []string) ([]byte, error) {
	config, rootfs, _, err := parseConfig(text)
	if err != nil {
		return nil, err
	}
	if err := firstError(rootfs.set("diff_ids", ids), config.set("rootfs", rootfs)); err != nil {
		return nil, err
	}
	return json.Marshal(config)
}

// putConfig writes a config under the name that its new content has.
func (w *walk) putConfig(name string, before, now []byte) error {
	i, err := w.resolve(name)
	if err != nil {
		return err
	}
	becomes := renamed(name, rewritten{digest: digestOfBytes(before)}, rewritten{digest: digestOfBytes(now)})
	if becomes != name {
		w.replaced[name] = becomes
	}
	return w.putBytes(becomes, i, now)
}

// renamed is a file's name after its content changed: that of the new blob for a
// blob, the digest of the new content where it has that of the old one in it.
func renamed(name string, was, now rewritten) string {
	if was.digest == now.digest {
		return name
	}
	if blobDigest(name) != "" {
		return now.digest.path()
	}
	dir, base := path.Split(name)
	base = strings.ReplaceAll(base, was.digest.hex(), now.digest.hex())
	if was.diffID != "" {
		base = strings.ReplaceAll(base, was.diffID.hex(), now.diffID.hex())
	}
	return dir + base
}

// blobDigest is the digest that a file is called by, "" for a file that is no blob.
func blobDigest(name string) digest {
	d, err := parseDigest(path.Base(path.Dir(name)) + ":" + path.Base(name))
	if err != nil || d.path() != name {
		return ""
	}
	return d
}

func (w *walk) putBytes(name string, like *item, text []byte) error {
	if w.out == nil || w.out.has(name) {
		return nil
	}
	return w.out.put(name, like, int64(len(text)), bytes.NewReader(text))
}

// put writes a document that may have changed from before, or copies its blob.
func (w *walk) put(ctx context.Context, d *descriptor, before []byte, now object) (rewritten, error) {
	same := rewritten{digest: d.digest, size: d.size}
	text, err := json.Marshal(now)
	if err != nil {
		return rewritten{}, err
	}
	if bytes.Equal(text, before) || w.out == nil {
		return same, w.copyBlob(ctx, d)
	}
	became := rewritten{digest: digestOfBytes(text), size: int64(len(text))}
	w.replaced[d.digest.path()] = became.digest.path()
	i, err := w.resolve(d.digest.path())
	if err != nil {
		return same, err
	}
	return became, w.putBytes(became.digest.path(), i, text)
}

// copyBlob copies a blob as it is; its digest is checked on the way.
func (w *walk) copyBlob(ctx context.Context, d *descriptor) error {
	if w.out == nil {
		return w.verify(ctx, d)
	}
	name := d.digest.path()
	if w.out.has(name) {
		return w.verify(ctx, d)
	}
	b, err := w.blob(d)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	i, err := w.resolve(name)
	if err != nil {
		return err
	}
	h := d.digest.hash()
	if err := w.out.put(name, i, b.size, io.TeeReader(contextReader{ctx, b.reader()}, h)); err != nil {
		return fmt.Errorf("copy %s: %w", d.digest, err)
	}
	if err := d.is(b.size, h); err != nil {
		return err
	}
	w.sizes[d.digest] = b.size
	return nil
}

// copyFile copies a file under its name.
func (w *walk) copyFile(ctx context.Context, name string) error {
	if w.out.has(name) {
		return nil
	}
	i, err := w.resolve(name)
	if err != nil {
		return err
	}
	b, err := w.open(name)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	if err := w.out.put(name, i, b.size, contextReader{ctx, b.reader()}); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}
