package harness

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Media types of the OCI image specification.
const (
	OCIIndex    = "application/vnd.oci.image.index.v1+json"
	OCIManifest = "application/vnd.oci.image.manifest.v1+json"
	OCIConfig   = "application/vnd.oci.image.config.v1+json"
	OCILayer    = "application/vnd.oci.image.layer.v1.tar"
	RefName     = "org.opencontainers.image.ref.name"
)

// JSON is a JSON object.
type JSON = map[string]any

// Images is an OCI image layout that a test makes by hand. It may be hostile.
type Images struct {
	testing.TB
	Dir string
}

// NewImages begins a layout.
func NewImages(t testing.TB) *Images {
	t.Helper()
	l := &Images{t, filepath.Join(t.TempDir(), "layout")}
	if err := os.MkdirAll(filepath.Join(l.Dir, "blobs/sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.File("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	return l
}

// File writes a file of the layout.
func (l *Images) File(name, text string) {
	l.Helper()
	if err := os.WriteFile(filepath.Join(l.Dir, name), []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
}

// Text returns v as JSON, or unchanged if it is a string.
func (l *Images) Text(v any) string {
	l.Helper()
	if text, ok := v.(string); ok {
		return text
	}
	text, err := json.Marshal(v)
	if err != nil {
		l.Fatal(err)
	}
	return string(text)
}

// Sum returns the digest of a text, as descriptors state it.
func Sum(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// Blob writes a blob and returns its descriptor. more adds keys, as pairs of key and value.
func (l *Images) Blob(content any, mediaType string, more ...any) JSON {
	l.Helper()
	text := l.Text(content)
	l.File("blobs/sha256/"+Sum(text)[len("sha256:"):], text)
	d := JSON{"digest": Sum(text), "size": len(text)}
	if mediaType != "" {
		d["mediaType"] = mediaType
	}
	return merge(d, more)
}

func merge(o JSON, more []any) JSON {
	for i := 0; i+1 < len(more); i += 2 {
		if key, _ := more[i].(string); more[i+1] == nil {
			delete(o, key)
		} else {
			o[key] = more[i+1]
		}
	}
	return o
}

// Config writes the config of an image whose layers are not compressed.
func (l *Images) Config(layers ...string) JSON {
	l.Helper()
	return l.Blob(ConfigOf(layers...), OCIConfig)
}

// ConfigOf returns the config of an image whose layers are not compressed.
func ConfigOf(layers ...string) JSON {
	ids := []string{}
	for _, layer := range layers {
		ids = append(ids, Sum(layer))
	}
	return JSON{"architecture": "amd64", "os": "linux", "config": JSON{}, "rootfs": JSON{"type": "layers", "diff_ids": ids}}
}

// Manifest writes an image with one uncompressed layer and returns its manifest. more
// replaces keys of the manifest, as pairs of key and value.
func (l *Images) Manifest(layer string, more ...any) JSON {
	l.Helper()
	return merge(JSON{"schemaVersion": 2, "mediaType": OCIManifest, "config": l.Config(layer), "layers": []any{l.Blob(layer, OCILayer)}}, more)
}

// Image writes an image with one layer and returns its descriptor, which states the tag.
func (l *Images) Image(tag, layer string, more ...any) JSON {
	l.Helper()
	return l.Blob(l.Manifest(layer, more...), OCIManifest, "annotations", JSON{RefName: tag})
}

// Index writes index.json from descriptors, or from a text.
func (l *Images) Index(manifests ...any) *Images {
	l.Helper()
	l.File("index.json", l.Text(JSON{"schemaVersion": 2, "manifests": manifests}))
	return l
}

// Layer returns a tar archive of files, given as pairs of name and content.
func Layer(pairs ...string) string {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for i := 0; i+1 < len(pairs); i += 2 {
		_ = w.WriteHeader(&tar.Header{Name: pairs[i], Mode: 0o755, Size: int64(len(pairs[i+1]))}) // writing to memory cannot fail
		_, _ = w.Write([]byte(pairs[i+1]))
	}
	_ = w.Close()
	return text.String()
}
