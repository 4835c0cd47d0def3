package oci_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
	"github.com/imasign/imasign-build/tests/harness"
)

// about are annotations that describe the bytes of a blob.
var about = harness.JSON{
	"io.github.containers.zstd-chunked.manifest-checksum": "sha256:1",
	"io.github.containers.zstd-chunked.manifest-position": "1:2:3:1",
	"io.github.containers.zstd-chunked.tarsplit-position": "1:2:3",
	"io.containers.estargz.uncompressed-size":             "1",
	"containerd.io/snapshot/stargz/toc.digest":            "sha256:1",
	"containerd.io/snapshot/overlaybd/blob-digest":        "sha256:1",
	"containerd.io/snapshot/nydus-blob":                   "true",
	"containerd.io/snapshot/dm-verity.root-digest":        "1",
	"containerd.io/distribution.source.docker.io":         "library/busybox",
	"com.amazon.soci.index-digest":                        "sha256:1",
	"ci.umo.uncompressed_blob_size":                       "1",
	"dev.cosignproject.cosign/signature":                  "MEUC",
	"com.example.blob":                                    "sha256:%",
}

// foreign are annotations that do not describe bytes.
var foreign = harness.JSON{
	"com.example.note":                        "keep",
	"org.opencontainers.image.title":          "layer",
	"org.opencontainers.image.base.digest":    zero,
	"org.opencontainers.image.ref.name":       "one",
	"io.containers.example":                   "keep",
	"buildkit/rewritten-timestamp":            "0",
	"com.example.other-digest":                zero,
	"org.opencontainers.image.created":        "2020-01-01T00:00:00Z",
	"containerd.io/snapshot.example/zstd-mod": "keep",
}

var zero = "sha256:" + strings.Repeat("0", 64)

func annotations(more ...harness.JSON) harness.JSON {
	all := harness.JSON{}
	for _, some := range more {
		for key, value := range some {
			all[key] = value
		}
	}
	return all
}

// TestAnnotationsAboutBytes checks that annotations about changed bytes are updated where
// possible and otherwise removed, and that they stay if nothing changed.
func TestAnnotationsAboutBytes(t *testing.T) {
	plain := harness.Layer("usr/bin/a", "a")
	l := harness.NewImages(t)
	about["com.example.blob"] = harness.Sum(plain)
	layer := l.Blob(plain, harness.OCILayer, "annotations", annotations(about, foreign, harness.JSON{"containerd.io/uncompressed": harness.Sum(plain)}), "urls", []any{"https://example.invalid/"})
	empty := l.Blob(harness.Layer(), harness.OCILayer, "annotations", annotations(about, foreign))
	manifest := harness.JSON{
		"schemaVersion": 2, "config": l.Config(plain, harness.Layer()), "layers": []any{layer, empty},
		"annotations": annotations(foreign, harness.JSON{"com.amazon.soci.index-digest": "sha256:1"}),
	}
	l.Index(l.Blob(manifest, harness.OCIManifest, "annotations", annotations(about, foreign), "data", "e30="))
	var said []string
	out, err := signed(t, l.Dir, oci.Options{Observe: signing.NewObserver(func(e signing.Event) {
		if e.Kind == signing.Warning {
			said = append(said, e.Message)
		}
	})})
	check(t, err)
	if len(said) != 1 || !strings.Contains(said[0], `"io.github.containers.zstd-chunked.manifest-checksum" (2)`) || !strings.Contains(said[0], `"urls" (1)`) || !strings.Contains(said[0], `"data" (1)`) {
		t.Errorf("said %q", said)
	}
	type described struct {
		Digest      string
		Data, URLs  any
		Annotations harness.JSON
	}
	var index struct{ Manifests []described }
	check(t, json.Unmarshal(file(t, out, "index.json"), &index))
	var now struct {
		Config      described
		Layers      []described
		Annotations harness.JSON
	}
	check(t, json.Unmarshal(file(t, out, "blobs/sha256/"+index.Manifests[0].Digest[7:]), &now))
	image, first, second := index.Manifests[0], now.Layers[0], now.Layers[1]
	var config struct {
		Rootfs struct {
			Diff []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	check(t, json.Unmarshal(file(t, out, "blobs/sha256/"+now.Config.Digest[7:]), &config))
	if image.Data != nil || first.URLs != nil {
		t.Errorf("embedded %v, from %v", image.Data, first.URLs)
	}
	same(t, "manifest", now.Annotations, foreign)
	same(t, "image", image.Annotations, annotations(foreign, harness.JSON{"com.example.blob": harness.Sum(plain)})) // of another blob
	same(t, "layer", first.Annotations, annotations(foreign, harness.JSON{"containerd.io/uncompressed": config.Rootfs.Diff[0]}))
	same(t, "layer without files", second.Annotations, annotations(about, foreign))
}

func file(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	check(t, err)
	return text
}

func same(t *testing.T, of string, is, want harness.JSON) {
	t.Helper()
	var keys []string
	for key := range annotations(is, want) {
		if is[key] != want[key] {
			keys = append(keys, key)
		}
	}
	if slices.Sort(keys); len(keys) > 0 {
		t.Errorf("%s: these annotations are wrong: %q", of, keys)
	}
}

// TestReferrers checks that referrers leave the index if their image changed. Their blobs
// stay, like every other blob that nothing replaces.
func TestReferrers(t *testing.T) {
	l := harness.NewImages(t)
	first := l.Image("one", harness.Layer("a", "a"))
	subject := harness.JSON{"mediaType": harness.OCIManifest, "digest": first["digest"], "size": first["size"]}
	payload := l.Blob(`{"critical":{}}`, "application/vnd.dev.cosign.simplesigning.v1+json")
	stale := l.Blob(harness.JSON{"schemaVersion": 2, "config": l.Blob("{}", "application/vnd.oci.empty.v1+json"), "layers": []any{payload}, "subject": subject}, harness.OCIManifest)
	kept := l.Blob(harness.JSON{"schemaVersion": 2, "config": l.Blob("{}", "application/vnd.oci.empty.v1+json"), "layers": []any{payload}}, harness.OCIManifest)
	unknown := l.Blob("unknown", "")
	wasm := l.Blob(harness.JSON{"schemaVersion": 2, "config": l.Blob("{}", "application/vnd.wasm.config.v0+json"), "layers": []any{l.Blob("\x00asm", "application/wasm")}}, harness.OCIManifest)
	l.Index(stale, kept, wasm, first)
	var said []string
	o := oci.Options{Observe: signing.NewObserver(func(e signing.Event) {
		if e.Kind == signing.Warning {
			said = append(said, e.Path+" "+e.Message)
		}
	})}
	out, err := signed(t, l.Dir, o)
	check(t, err)
	all := strings.Join(said, "\n")
	if len(said) != 2 || !strings.Contains(all, stale["digest"].(string)+" is a signature") || !strings.Contains(all, "no tar archive") {
		t.Errorf("said %q", said)
	}
	index := string(file(t, out, "index.json"))
	for _, d := range []harness.JSON{kept, wasm} {
		if !strings.Contains(index, d["digest"].(string)) {
			t.Errorf("%v is gone from\n%s", d, index)
		}
	}
	if strings.Contains(index, stale["digest"].(string)) || strings.Contains(index, first["digest"].(string)) {
		t.Errorf("what changed is still in\n%s", index)
	}
	for _, d := range []harness.JSON{stale, payload, unknown} {
		file(t, out, "blobs/sha256/"+d["digest"].(string)[7:])
	}
	images, err := oci.Open(out, o)
	check(t, err)
	check(t, look(images))
}

// TestTablesOfContents checks that verification warns of a layer that some programs
// extract by a table of contents.
func TestTablesOfContents(t *testing.T) {
	l := harness.NewImages(t)
	plain := harness.Layer("a", "a")
	l.Index(l.Blob(l.Manifest(plain, "layers", []any{l.Blob(plain, harness.OCILayer, "annotations", about)}), harness.OCIManifest))
	said := ""
	images, err := oci.Open(l.Dir, oci.Options{
		Archive: tarball.Options{EveryRecord: true},
		Observe: signing.NewObserver(func(e signing.Event) { said += e.Path + " " + e.Message }),
	})
	check(t, err)
	defer images.Close()
	check(t, look(images))
	if !strings.Contains(said, harness.Sum(plain)) || !strings.Contains(said, "not verified") {
		t.Errorf("said %q", said)
	}
}
