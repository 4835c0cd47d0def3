package oci

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// digest is the algorithm and the hexadecimal digits of a blob's digest, such as
// "sha256:e3b0…". This package writes only SHA-256.
type digest string

// newHash returns the hash of a digest's algorithm, nil for an algorithm that the OCI
// image specification does not register.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return nil
}

func parseDigest(text string) (digest, error) {
	algorithm, digits, _ := strings.Cut(text, ":")
	h := newHash(algorithm)
	if h == nil || len(digits) != 2*h.Size() || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%w: digest %.200q", ErrFormat, text)
	}
	return digest(text), nil
}

// digestOf returns the digest of what was written to h, which must be a SHA-256.
func digestOf(h hash.Hash) digest { return digest("sha256:" + hex.EncodeToString(h.Sum(nil))) }

func digestOfBytes(text []byte) digest {
	sum := sha256.Sum256(text)
	return digest("sha256:" + hex.EncodeToString(sum[:]))
}

func (d digest) hash() hash.Hash {
	algorithm, _, _ := strings.Cut(string(d), ":")
	return newHash(algorithm)
}

func (d digest) hex() string {
	_, digits, _ := strings.Cut(string(d), ":")
	return digits
}

// path returns the blob's path in a layout.
func (d digest) path() string { return "blobs/" + strings.Replace(string(d), ":", "/", 1) }

// descriptor names a blob by its digest, and has the keys beside the digest.
type descriptor struct {
	object
	digest      digest
	size        int64
	mediaType   types.MediaType // without parameters, in lower case
	annotations map[string]string
	lies        bool // its embedded content is not the blob's, and is dropped
}

func parseDescriptor(o object) (d descriptor, err error) {
	var sum, mediaType string
	var data []byte
	d.object = o
	for key, into := range map[string]any{"digest": &sum, "size": &d.size, "mediaType": &mediaType, "annotations": &d.annotations, "data": &data} {
		if err := o.get(key, into); err != nil {
			return d, err
		}
	}
	if d.digest, err = parseDigest(sum); err != nil {
		return d, err
	}
	if d.size < 0 {
		return d, fmt.Errorf("%w: %s: a size of %d bytes", ErrFormat, d.digest, d.size)
	}
	mediaType, _, _ = strings.Cut(mediaType, ";")
	d.mediaType = types.MediaType(strings.ToLower(strings.TrimSpace(mediaType)))
	if _, embedded := o["data"]; embedded {
		h := d.digest.hash()
		h.Write(data)
		if d.lies = d.is(int64(len(data)), h) != nil; d.lies {
			delete(o, "data")
		}
	}
	return d, nil
}

// named returns an error about the blob, with its digest unless err begins with it.
func (d *descriptor) named(what string, err error) error {
	if strings.HasPrefix(err.Error(), string(d.digest)+": ") {
		return fmt.Errorf("%s %w", what, err)
	}
	return fmt.Errorf("%s %s: %w", what, d.digest, err)
}

// is checks that a blob of this size and hash is the blob that the descriptor names.
func (d *descriptor) is(size int64, h hash.Hash) error {
	if sum := hex.EncodeToString(h.Sum(nil)); size != d.size || sum != d.digest.hex() {
		return fmt.Errorf("%s: %w: the blob has %d bytes and the digest %s", d.digest, ErrFormat, size, sum)
	}
	return nil
}

// one reads the descriptor at key. there is false if the object has no such key.
func (o object) one(key string) (d descriptor, there bool, err error) {
	text, there := o[key]
	if !there {
		return d, false, nil
	}
	part, err := asObject(text, descriptorKeys)
	if err == nil {
		d, err = parseDescriptor(part)
	}
	if err != nil {
		err = fmt.Errorf("%q: %w", key, err)
	}
	return d, true, err
}

// descriptors reads the list of descriptors at key.
func (o object) descriptors(key string) ([]descriptor, error) {
	list, err := o.objects(key, descriptorKeys)
	if err != nil {
		return nil, err
	}
	all := make([]descriptor, len(list))
	for i, part := range list {
		if all[i], err = parseDescriptor(part); err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
	}
	return all, nil
}

// setDescriptors sets the list of descriptors at key.
func (o object) setDescriptors(key string, list []descriptor) error {
	objects := make([]object, len(list))
	for i := range list {
		objects[i] = list[i].object
	}
	return o.set(key, objects)
}

// isLayer reports whether a media type is that of a tar archive.
func isLayer(t types.MediaType) bool {
	switch t {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
		types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer, types.DockerForeignLayer,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar":
		return true
	}
	return false
}

func isConfig(t types.MediaType) bool { return t == types.OCIConfigJSON || t == types.DockerConfigJSON }

// isDocument reports whether a blob that begins with head is meant as JSON. A head of
// only white space counts as JSON, because JSON may follow.
func isDocument(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 {
		return len(head) > 0
	}
	return text[0] == '{' || text[0] == '[' || bytes.HasPrefix(text, []byte("null"))
}
