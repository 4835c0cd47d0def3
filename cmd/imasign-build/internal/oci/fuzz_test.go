package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"testing"

	"github.com/imasign/imasign-build/pkg/tarball"
)

// FuzzDocument checks that an accepted document means the same to encoding/json, and so
// to every program that reads images.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		`{"manifests":[{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1}]}`,
		`{"layers":[],"Layers":[{}]}`, `{"layers":[],"layers":[{}]}`, `{"layer\u017f":[{}]}`, `{"layers":null}`, "null", "[]", `{"a":"\ud800"}`, "{} {}",
		`{"rootfs":{"diff_ids":["sha256:1"]}}`, `{"layers":[{"digest":"sha256:1","size":1e3}],"config":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseObject(text, indexKeys)
		if err != nil {
			return
		}
		var theirs struct {
			Manifests, Layers []struct {
				Digest string `json:"digest"`
				Size   int64  `json:"size"`
			}
		}
		layers, err := o.descriptors("layers")
		manifests, err2 := o.descriptors("manifests")
		if firstError(err, err2) != nil {
			return
		}
		if err := json.Unmarshal(text, &theirs); err != nil {
			t.Fatalf("%q is taken here alone: %v", text, err)
		}
		if len(layers) != len(theirs.Layers) || len(manifests) != len(theirs.Manifests) {
			t.Fatalf("%q: %d layers here, %d there; %d manifests, %d", text, len(layers), len(theirs.Layers), len(manifests), len(theirs.Manifests))
		}
		for i, d := range layers {
			if string(d.digest) != theirs.Layers[i].Digest || d.size != theirs.Layers[i].Size {
				t.Fatalf("%q: %+v here, %+v there", text, d, theirs.Layers[i])
			}
		}
		_, _, _, _ = parseConfig(text) // must not panic
	})
}

// FuzzArchive lists the files of an archive of images.
func FuzzArchive(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 10240))
	for _, names := range [][]string{{"oci-layout", "index.json"}, {"./x/oci-layout", "./x/index.json", "./x/blobs/"}, {"manifest.json", "../x"}} {
		var seed bytes.Buffer
		w := tar.NewWriter(&seed)
		for _, name := range names {
			_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 2}) // writing to memory does not fail
			_, _ = w.Write([]byte("{}"))
		}
		_ = w.Close()
		f.Add(seed.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := OpenArchive(t.Context(), bytes.NewReader(text), "archive", Options{Archive: tarball.Options{UnpackLimit: 1 << 20}})
		if err != nil {
			return
		}
		pass := l.Look()
		places, err := pass.Layers(t.Context())
		for _, at := range places {
			if layer, err := pass.Open(t.Context(), at); err == nil {
				_ = layer.Close()
			}
		}
		if err == nil {
			_ = pass.Finish(t.Context())
		}
		_ = l.Close()
	})
}
