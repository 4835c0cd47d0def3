package oci

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// aboutBytes are the beginnings of annotation keys that describe the bytes of a blob:
// where in it a table of contents is, a digest of it, its decompressed size, a signature.
var aboutBytes = []string{
	"io.github.containers.zstd-chunked.",   // containers/storage pkg/chunked: zstd:chunked
	"io.containers.estargz.",               // containers/storage
	"containerd.io/snapshot/stargz/",       // containerd/stargz-snapshotter: eStargz
	"containerd.io/snapshot/overlaybd",     // containerd/accelerated-container-image, dm-verity and block formats
	"containerd.io/snapshot/nydus-",        // containerd/nydus-snapshotter
	"containerd.io/snapshot/remote/",       // where snapshotters fetch the blob
	"containerd.io/snapshot/erofs",         // containerd's erofs differ
	"containerd.io/distribution.source.",   // containerd: which registry has the blob
	"com.amazon.soci.",                     // awslabs/soci-snapshotter
	"ci.umo.uncompressed_blob_size",        // opencontainers/umoci
	"dev.cosignproject.cosign/",            // sigstore/cosign: a signature of the blob
	"dev.sigstore.",                        // the same
	"org.opencontainers.image.enc.",        // containers/ocicrypt
	"io.containers.image.uncompressed",     // a size or digest of the content
	"io.cncf.notary.x509chain.thumbprint#", // notaryproject: of a signature
}

// diffIDKeys are the annotation keys whose value is the layer's diff id. The new value is
// known.
var diffIDKeys = []string{"containerd.io/uncompressed", "io.deis.oras.content.digest"}

// aboutOldBytes reports whether an annotation describes the old blob: by its key, or
// because its value contains the digest of the blob or of its content.
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

// point makes the descriptor name another blob. It removes what the descriptor says
// about the bytes of the old blob: annotations, embedded content and download addresses.
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

// cleanAnnotations updates the annotations of a descriptor that describe the bytes of its
// blob, or removes them.
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

// isReference reports whether an annotation names an image or the image it belongs to.
func isReference(key string) bool {
	return key == "org.opencontainers.image.ref.name" || key == "io.containerd.image.name" || key == "vnd.docker.reference.digest"
}

// cleanOwn removes a changed manifest's own annotations that describe the bytes of its
// layers.
func (w *walk) cleanOwn(o object, was rewritten) error {
	d := descriptor{object: o}
	if err := o.get("annotations", &d.annotations); err != nil {
		return err
	}
	return w.cleanAnnotations(&d, was, was)
}

// tellRemoved warns with the names of the annotations that were removed.
func (w *walk) tellRemoved() {
	if len(w.removed) == 0 || w.out == nil {
		return
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(w.removed)) {
		words = append(words, fmt.Sprintf("%q (%d)", key, w.removed[key]))
	}
	w.leftOut = maps.Clone(w.removed)
	w.warn("", "left out, because they described bytes that changed: "+strings.Join(words, ", "))
}
