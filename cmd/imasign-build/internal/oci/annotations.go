package oci

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// aboutBytes are beginnings of annotations that describe the bytes of the blob
// beside them: where in it a table of contents is, a digest of it, how large it gets,
// what was signed.
var aboutBytes = []string{
	"io.github.containers.zstd-chunked.",   // containers/storage pkg/chunked: zstd:chunked
	"io.containers.estargz.",               // containers/storage
	"containerd.io/snapshot/stargz/",       // containerd/stargz-snapshotter: eStargz
	"containerd.io/snapshot/overlaybd",     // containerd/accelerated-container-image, dm-verity and block formats
	"containerd.io/snapshot/nydus-",        // containerd/nydus-snapshotter
	"containerd.io/snapshot/remote/",       // snapshotters that fetch by what is here
	"containerd.io/snapshot/erofs",         // containerd's erofs differ
	"containerd.io/distribution.source.",   // containerd: which registry has this very blob
	"com.amazon.soci.",                     // awslabs/soci-snapshotter
	"ci.umo.uncompressed_blob_size",        // opencontainers/umoci
	"dev.cosignproject.cosign/",            // sigstore/cosign: a signature of the blob
	"dev.sigstore.",                        // the same
	"org.opencontainers.image.enc.",        // containers/ocicrypt
	"io.containers.image.uncompressed",     // a size or digest of the content
	"io.cncf.notary.x509chain.thumbprint#", // notaryproject: of a signature
}

// diffIDKeys are annotations whose value is the layer's diff id, which is known.
var diffIDKeys = []string{"containerd.io/uncompressed", "io.deis.oras.content.digest"}

// aboutOldBytes tells whether an annotation describes the blob that was there: by
// its name, or because it has the digest of the blob or of its content in it.
func aboutOldBytes(key, value string, was rewritten) bool {
	name := strings.ToLower(key)
	for _, prefix := range aboutBytes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	if strings.Contains(name, "dm-verity") || strings.Contains(name, "dmverity") || strings.Contains(name, "fsverity") {
		return true
	}
	return strings.Contains(value, was.digest.hex()) || was.diffID != "" && strings.Contains(value, was.diffID.hex())
}

// point makes the descriptor name another blob. What it says about the bytes of the
// old one, content that it embeds and addresses from where it could be had go.
func (w *walk) point(d *descriptor, was, now rewritten) error {
	if d.digest == now.digest {
		return nil
	}
	d.digest, d.size = now.digest, now.size
	delete(d.object, "data")
	if _, there := d.object["urls"]; there {
		delete(d.object, "urls")
		w.removed["urls"]++
	}
	if err := w.cleanAnnotations(d, was, now); err != nil {
		return err
	}
	return firstError(d.set("digest", now.digest), d.set("size", now.size))
}

// cleanAnnotations brings up to date what a descriptor's annotations say about the
// bytes of its blob, or removes it.
func (w *walk) cleanAnnotations(d *descriptor, was, now rewritten) error {
	kept := map[string]string{}
	for key, value := range d.annotations {
		switch {
		case slices.Contains(diffIDKeys, key) && was.diffID != "" && value == string(was.diffID):
			kept[key] = string(now.diffID)
		case isReference(key), !aboutOldBytes(key, value, was):
			kept[key] = value
		default:
			w.removed[key]++
		}
	}
	switch {
	case maps.Equal(kept, d.annotations):
		return nil
	case len(kept) == 0:
		delete(d.object, "annotations")
		return nil
	}
	d.annotations = kept
	return d.set("annotations", kept)
}

// isReference tells the annotations that name an image or what it belongs to.
func isReference(key string) bool {
	return key == "org.opencontainers.image.ref.name" || key == "io.containerd.image.name" || key == "vnd.docker.reference.digest"
}

// cleanOwn removes from a manifest that changed what its own annotations say about
// the bytes of its layers.
func (w *walk) cleanOwn(o object, was rewritten) error {
	d := descriptor{object: o}
	if err := o.get("annotations", &d.annotations); err != nil {
		return err
	}
	return w.cleanAnnotations(&d, was, was)
}

// tellRemoved names the annotations that went.
func (w *walk) tellRemoved() {
	if len(w.removed) == 0 || w.out == nil {
		return
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(w.removed)) {
		words = append(words, fmt.Sprintf("%q (%d)", key, w.removed[key]))
	}
	w.leftOut = maps.Clone(w.removed)
	w.warn("", "annotations and the like were about bytes that changed, and are left out: "+strings.Join(words, ", "))
}
