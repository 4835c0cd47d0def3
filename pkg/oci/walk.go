package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imasign/imasign-build/pkg/signing"
)

// object is a JSON object of which some keys are known.
type object map[string]json.RawMessage

func (o object) get(key string, into any) error {
	text, there := o[key]
	if !there {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrFormat, key, err)
	}
	return nil
}

func (o object) set(key string, value any) error {
	text, err := json.Marshal(value)
	o[key] = text
	return err
}

// descriptor names a blob, with what else stands beside its digest.
type descriptor struct {
	object
	digest      v1.Hash
	size        int64
	mediaType   types.MediaType
	annotations map[string]string
}

func parseDescriptor(o object) (d descriptor, err error) {
	d.object = o
	for key, into := range map[string]any{"digest": &d.digest, "size": &d.size, "mediaType": &d.mediaType, "annotations": &d.annotations} {
		if err := o.get(key, into); err != nil {
			return d, err
		}
	}
	if d.digest.Algorithm != "sha256" {
		return d, fmt.Errorf("%w: digest %q", ErrFormat, d.digest)
	}
	return d, nil
}

func descriptors(o object, key string) ([]descriptor, error) {
	var list []object
	if err := o.get(key, &list); err != nil {
		return nil, err
	}
	all := make([]descriptor, len(list))
	for i, o := range list {
		var err error
		if all[i], err = parseDescriptor(o); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// point makes the descriptor name another blob. Embedded content is dropped.
func (d *descriptor) point(to rewritten) error {
	if d.digest == to.digest {
		return nil
	}
	delete(d.object, "data")
	if err := d.set("digest", to.digest.String()); err != nil {
		return err
	}
	return d.set("size", to.size)
}

// rewritten is what became of a blob.
type rewritten struct {
	digest v1.Hash
	size   int64
	diffID v1.Hash // of a layer
}

// walk goes through all images of a layout. Without out it only looks.
type walk struct {
	*Layout
	layer func(context.Context, descriptor) (rewritten, error)
	met   map[v1.Hash]rewritten
	out   *output
}

// index goes through the layout's own index and returns it.
func (w *walk) index(ctx context.Context) (object, error) {
	var index object
	text, err := readFile(w.dir, "index.json")
	if err == nil {
		err = json.Unmarshal(text, &index)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", w.dir, ErrFormat, err)
	}
	if err := w.manifests(ctx, index, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", w.dir, err)
	}
	return index, nil
}

// manifests goes through what an index lists: images first, then what refers to
// them.
func (w *walk) manifests(ctx context.Context, index object, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: indexes in indexes, more than %d deep", ErrFormat, maxDepth)
	}
	list, err := descriptors(index, "manifests")
	if err != nil {
		return err
	}
	late := make([]bool, len(list))
	for i := range list {
		if late[i], err = w.refers(list[i]); err != nil {
			return err
		}
		if late[i] {
			continue
		}
		if err := w.manifest(ctx, &list[i], depth); err != nil {
			return err
		}
	}
	kept := []object{}
	for i := range list {
		keep := true
		if late[i] {
			if keep, err = w.reference(list[i]); err != nil {
				return err
			}
		}
		if keep {
			kept = append(kept, list[i].object)
		}
	}
	return index.set("manifests", kept)
}

// cosignTag is how cosign names what belongs to an image.
var cosignTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})\.(sig|att|sbom)$`)

// refersTo returns the image that a manifest is a signature or attestation of.
func (w *walk) refersTo(d descriptor) (v1.Hash, error) {
	if tag := cosignTag.FindStringSubmatch(d.annotations["org.opencontainers.image.ref.name"]); tag != nil {
		return v1.Hash{Algorithm: "sha256", Hex: tag[1]}, nil
	}
	if text := d.annotations["vnd.docker.reference.digest"]; text != "" {
		return v1.NewHash(text)
	}
	if !d.mediaType.IsImage() {
		return v1.Hash{}, nil
	}
	var manifest struct {
		Subject *struct {
			Digest v1.Hash `json:"digest"`
		} `json:"subject"`
	}
	if err := w.document(d, &manifest); err != nil || manifest.Subject == nil {
		return v1.Hash{}, err
	}
	return manifest.Subject.Digest, nil
}

func (w *walk) refers(d descriptor) (bool, error) {
	to, err := w.refersTo(d)
	return to != v1.Hash{}, err
}

// reference keeps what refers to an image that is as it was.
func (w *walk) reference(d descriptor) (keep bool, err error) {
	to, err := w.refersTo(d)
	if err != nil {
		return false, err
	}
	if now, there := w.met[to]; there && now.digest != to {
		if w.out != nil {
			w.opts.Observe.Tell(signing.Event{Kind: signing.Warning, Message: fmt.Sprintf("%s is a signature, attestation or the like of %s, which is now %s: left out, make it anew", d.digest, to, now.digest)})
		}
		return false, nil
	}
	return true, w.copyTree(d)
}

// manifest goes through one index or image and has d name what became of it.
func (w *walk) manifest(ctx context.Context, d *descriptor, depth int) error {
	if done, met := w.met[d.digest]; met {
		return d.point(done)
	}
	var m object
	if !d.mediaType.IsIndex() && !d.mediaType.IsImage() {
		return w.copyBlob(*d)
	}
	if err := w.document(*d, &m); err != nil {
		return err
	}
	before, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if d.mediaType.IsIndex() {
		err = w.manifests(ctx, m, depth+1)
	} else {
		err = w.image(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.digest, err)
	}
	became, err := w.put(*d, before, m)
	if err != nil {
		return err
	}
	w.met[d.digest] = became
	return d.point(became)
}

// image goes through an image's layers and brings its config up to date.
func (w *walk) image(ctx context.Context, manifest object) error {
	var o object
	if err := manifest.get("config", &o); err != nil {
		return err
	}
	config, err := parseDescriptor(o)
	if err != nil {
		return err
	}
	layers, err := descriptors(manifest, "layers")
	if err != nil {
		return err
	}
	if config.mediaType != types.OCIConfigJSON && config.mediaType != types.DockerConfigJSON {
		return w.artifact(append(layers, config)) // something else in an image's clothes
	}
	diffIDs := make([]v1.Hash, len(layers))
	for i := range layers {
		if diffIDs[i], err = w.oneLayer(ctx, &layers[i]); err != nil {
			return err
		}
	}
	if err := w.config(&config, diffIDs); err != nil {
		return err
	}
	list := make([]object, len(layers))
	for i := range layers {
		list[i] = layers[i].object
	}
	return firstError(manifest.set("layers", list), manifest.set("config", config.object))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// oneLayer has a layer visited or rewritten, the first time that it is met, and
// returns its diff id, none where it only looks.
func (w *walk) oneLayer(ctx context.Context, d *descriptor) (v1.Hash, error) {
	became, met := w.met[d.digest]
	if !met {
		if !isLayer(d.mediaType) {
			return v1.Hash{}, fmt.Errorf("layer %s: %w: it is of type %q", d.digest, ErrUnsupported, d.mediaType)
		}
		var err error
		if became, err = w.layer(ctx, *d); err != nil {
			return v1.Hash{}, err
		}
		w.met[d.digest] = became
	}
	return became.diffID, d.point(became)
}

// config sets the diff ids.
func (w *walk) config(d *descriptor, diffIDs []v1.Hash) error {
	if w.out == nil {
		return nil
	}
	var config, rootfs object
	if err := w.document(*d, &config); err != nil {
		return err
	}
	before, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if err := config.get("rootfs", &rootfs); err != nil {
		return err
	}
	var old []v1.Hash
	if err := rootfs.get("diff_ids", &old); err != nil {
		return err
	}
	if len(old) != len(diffIDs) || rootfs == nil {
		return fmt.Errorf("%w: %d layers, but %d diff ids in the config", ErrFormat, len(diffIDs), len(old))
	}
	if err := firstError(rootfs.set("diff_ids", diffIDs), config.set("rootfs", rootfs)); err != nil {
		return err
	}
	became, err := w.put(*d, before, config)
	if err != nil {
		return err
	}
	return d.point(became)
}
