package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/tarball"
)

// node describes a blob that an index lists.
type node struct {
	kind    kind
	size    int64
	subject digest // "" for none
	runs    bool   // an image with layers, or an index of one
}

// kind is the kind of a blob that an index lists, by its content.
type kind int

const (
	other    kind = iota // not a manifest
	index                // lists manifests
	image                // has layers that are tar archives, or none
	artifact             // has only other layers
)

// contents is the kind of a layer's blob.
type contents int

const (
	opaque contents = iota
	document
	archive
)

// embedded checks the content that descriptors embed. Verification does not rely on
// readers to check it, and the output never has wrong embedded content.
func (w *walk) embedded(list ...descriptor) error {
	for i := range list {
		switch {
		case !list[i].lies:
		case w.opts.Archive.EveryRecord:
			return fmt.Errorf("%w: the descriptor of %s embeds other content", ErrFormat, list[i].digest)
		default:
			w.removed["data"]++
		}
	}
	return nil
}

// survey examines everything below a descriptor of an index, each blob once.
func (w *walk) survey(ctx context.Context, d *descriptor, depth int) (*node, error) {
	if n, met := w.nodes[d.digest]; met {
		return n, sameSize(d, n.size)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: indexes in indexes, more than %d deep", ErrFormat, maxDepth)
	}
	n := &node{size: d.size}
	o, err := w.manifestOf(ctx, d)
	if err == nil && o != nil {
		err = w.classify(ctx, o, n, depth)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.digest, err)
	}
	w.nodes[d.digest] = n
	return n, nil
}

func sameSize(d *descriptor, size int64) error {
	if d.size != size {
		return fmt.Errorf("%w: %s has %d bytes, one of its descriptors says %d", ErrFormat, d.digest, size, d.size)
	}
	return nil
}

// manifestOf reads a manifest or an index. It returns nil for a blob that is not JSON.
func (w *walk) manifestOf(ctx context.Context, d *descriptor) (object, error) {
	head, err := w.head(d)
	if err != nil {
		return nil, err
	}
	if !isDocument(head) {
		w.warn(string(d.digest), "is not a manifest, though an index lists it: it is copied unchanged, and nothing in it is signed or verified")
		return nil, w.verify(ctx, d)
	}
	return w.document(d, indexKeys)
}

// head returns the beginning of a blob.
func (w *walk) head(d *descriptor) ([]byte, error) {
	b, err := w.blob(d)
	if err != nil {
		return nil, err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	head := make([]byte, min(b.size, 512))
	n, err := b.ReadAt(head, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head[:n], err
}

// blob opens the blob that a descriptor names.
func (w *walk) blob(d *descriptor) (*blob, error) {
	b, err := w.open(d.digest.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it is not in the layout: copy the image with all its layers", d.digest, ErrUnsupported)
	}
	return b, err
}

// verify checks the digest of a blob that is not parsed, once.
func (w *walk) verify(ctx context.Context, d *descriptor) error {
	if size, met := w.sizes[d.digest]; met {
		return sameSize(d, size)
	}
	b, err := w.blob(d)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	if err := b.verify(ctx, d); err != nil {
		return err
	}
	w.sizes[d.digest] = b.size
	return nil
}

// document reads a JSON blob, checked against its digest.
func (w *walk) document(d *descriptor, keys []string) (object, error) {
	text, err := w.text(d.digest.path())
	if err != nil {
		return nil, err
	}
	h := d.digest.hash()
	h.Write(text)
	if err := d.is(int64(len(text)), h); err != nil {
		return nil, err
	}
	return parseObject(text, keys)
}

// classify determines what a document is by its keys, and surveys what it lists.
func (w *walk) classify(ctx context.Context, o object, n *node, depth int) error {
	_, hasManifests := o["manifests"]
	_, hasLayers := o["layers"]
	_, hasOld := o["fsLayers"]
	switch {
	case hasOld:
		return fmt.Errorf("%w: a manifest of docker's schema 1 (skopeo copy makes it a newer one)", ErrUnsupported)
	case hasManifests && hasLayers:
		return fmt.Errorf("%w: both an index and a manifest: programs differ in what they take it for", ErrFormat)
	}
	subject, there, err := o.one("subject")
	if err != nil {
		return err
	}
	if there {
		n.subject = subject.digest
		if err := w.embedded(subject); err != nil {
			return err
		}
	}
	switch {
	case hasManifests:
		n.kind = index
		return w.surveyIndex(ctx, o, n, depth)
	case hasLayers:
		return w.surveyManifest(ctx, o, n)
	}
	return nil
}

func (w *walk) surveyIndex(ctx context.Context, o object, n *node, depth int) error {
	list, err := o.descriptors("manifests")
	if err == nil {
		err = w.embedded(list...)
	}
	if err != nil {
		return err
	}
	for i := range list {
		below, err := w.survey(ctx, &list[i], depth+1)
		if err != nil {
			return err
		}
		n.runs = n.runs || below.runs
	}
	return nil
}

// surveyManifest distinguishes images from artifacts in the form of an image manifest.
func (w *walk) surveyManifest(ctx context.Context, o object, n *node) error {
	layers, err := o.descriptors("layers")
	if err != nil {
		return err
	}
	config, hasConfig, err := o.one("config")
	if err == nil {
		err = w.embedded(append(layers, config)...)
	}
	if err != nil {
		return err
	}
	met := map[contents]*descriptor{}
	for i := range layers {
		what, err := w.contents(&layers[i])
		if err != nil {
			return layers[i].named("layer", err)
		}
		if met[what] = &layers[i]; what == archive {
			w.place(layers[i].digest.path(), &layers[i])
		}
		w.warnOfTable(&layers[i])
	}
	n.kind, n.runs = artifact, met[archive] != nil
	if n.runs || len(layers) == 0 {
		n.kind = image
	}
	isImage := false
	if hasConfig {
		ids, err := w.diffIDs(ctx, &config)
		if err != nil {
			return config.named("config", err)
		}
		isImage = isConfig(config.mediaType) || ids != nil
	}
	return w.judgeMixture(met, isImage)
}

// warnOfTable warns during verification of a layer with a table of contents, which some
// programs extract by. The table is not verified.
func (w *walk) warnOfTable(d *descriptor) {
	if !w.opts.Archive.EveryRecord || w.tables[d.digest] {
		return
	}
	for _, key := range []string{"io.github.containers.zstd-chunked.manifest-position", "containerd.io/snapshot/stargz/toc.digest"} {
		if _, there := d.annotations[key]; there {
			w.tables[d.digest] = true
			w.warn(string(d.digest), "has a table of contents (annotation "+key+"), which is not verified: some programs extract files by it")
			return
		}
	}
}

// judgeMixture refuses layers of an image that are not tar archives. An artifact that has
// only documents is an attestation. Anything that is not an image is only reported.
func (w *walk) judgeMixture(met map[contents]*descriptor, isImage bool) error {
	d := met[opaque]
	if d == nil && met[archive] != nil {
		d = met[document]
	}
	switch {
	case d == nil:
		return nil
	case isImage:
		return fmt.Errorf("layer %s: %w: its type is %q and it is no tar archive", d.digest, ErrUnsupported, d.mediaType)
	case met[opaque] != nil:
		w.warn(string(d.digest), fmt.Sprintf("of type %q is no tar archive, and its manifest is not that of an image: it is copied unchanged, and nothing in it is signed or verified", d.mediaType))
	}
	return nil
}

// contents determines the kind of a layer's blob from its beginning. The media type must
// agree.
func (w *walk) contents(d *descriptor) (contents, error) {
	if strings.Contains(string(d.mediaType), "+encrypted") {
		return opaque, fmt.Errorf("%w: it is encrypted (type %q): decrypt the image first", ErrUnsupported, d.mediaType)
	}
	what, met := w.sniffed[d.digest]
	if !met {
		var err error
		if what, err = w.sniff(d); err != nil {
			return opaque, err
		}
		w.sniffed[d.digest] = what
	}
	if what != archive && isLayer(d.mediaType) {
		return opaque, fmt.Errorf("%w: it is no tar archive, though its type is %q", ErrUnsupported, d.mediaType)
	}
	return what, nil
}

func (w *walk) sniff(d *descriptor) (contents, error) {
	b, err := w.blob(d)
	if err != nil {
		return opaque, err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	isTar, err := tarball.IsArchive(b)
	if err != nil || isTar {
		return archive, err
	}
	head, err := w.head(d)
	if err != nil || !isDocument(head) && !bytes.HasPrefix(head, []byte("<")) && !bytes.HasPrefix(head, []byte("SPDXVersion:")) {
		return opaque, err
	}
	isText, err := isText(b.reader())
	if isText {
		return document, err
	}
	return opaque, err
}

// isText distinguishes text, such as attestations and SBOMs (JSON, XML, SPDX's
// tag-value), from file system images. It checks every byte, because some file systems
// have their superblock behind a kilobyte of any content. An empty blob is not text.
func isText(r io.Reader) (bool, error) {
	isControl := func(c byte) bool { return c < ' ' && c != '\t' && c != '\r' && c != '\n' }
	any := false
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		if slices.ContainsFunc(buf[:n], isControl) {
			return false, nil
		}
		any = any || n > 0
		if errors.Is(err, io.EOF) {
			return any, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// cosignTag matches the tags by which cosign names the signatures and attestations of an
// image, and by which registries without the referrers API name its referrers.
var cosignTag = regexp.MustCompile(`^(sha256|sha384|sha512)-([0-9a-f]{64,128})(\.(sig|att|sbom))?$`)

// refersTo returns the digest of the image that a manifest is a signature or attestation
// of, "" for none.
func (w *walk) refersTo(d *descriptor) digest {
	if tag := cosignTag.FindStringSubmatch(d.annotations["org.opencontainers.image.ref.name"]); tag != nil {
		return digest(tag[1] + ":" + tag[2])
	}
	if text := d.annotations["vnd.docker.reference.digest"]; text != "" {
		return digest(text)
	}
	return w.nodes[d.digest].subject
}
