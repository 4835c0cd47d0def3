package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func signed(t *testing.T, in string, o oci.Options) (string, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	public, err := ima.BareKey(key.Public())
	check(t, err)
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	check(t, err)
	images, err := oci.Open(in, o)
	check(t, err)
	out := filepath.Join(t.TempDir(), "out")
	return out, rewrite(t, images, out, engine.Plan)
}

// rewrite writes the images with the values that the plans attach.
func rewrite(t *testing.T, images *oci.Layout, out string, plan func(context.Context, signing.Source) (*signing.Plan, error)) error {
	t.Helper()
	pass, err := images.Rewrite(out)
	if err != nil {
		return err
	}
	defer pass.Close()
	return goThrough(t.Context(), pass, func(layer *oci.Layer) error {
		p, err := plan(t.Context(), layer)
		if err != nil {
			return err
		}
		defer p.Close()
		change, err := layer.Prepare(t.Context(), p)
		check(t, err)
		return change.Commit(t.Context())
	})
}

// goThrough opens every layer.
func goThrough(ctx context.Context, pass *oci.Pass, visit func(*oci.Layer) error) error {
	places, err := pass.Layers(ctx)
	if err != nil {
		return err
	}
	for _, at := range places {
		layer, err := pass.Open(ctx, at)
		if err != nil {
			return err
		}
		if err := errors.Join(visit(layer), layer.Close()); err != nil {
			return err
		}
	}
	return pass.Finish(ctx)
}

// look reads every layer, and what the documents say about them.
func look(images *oci.Layout) error {
	return goThrough(context.Background(), images.Look(), func(*oci.Layer) error { return nil })
}

// TestIndexesInIndexes rewrites images for several platforms below a nested index, and
// checks every digest, size and diff id with go-containerregistry.
func TestIndexesInIndexes(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	path := writeLayout(in, image("usr/bin/alone"))
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: image("usr/bin/a"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: image("usr/bin/b"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	check(t, path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"})))
	out, err := signed(t, in, oci.Options{})
	check(t, err)
	now, err := layout.ImageIndexFromPath(out)
	check(t, err)
	check(t, validate.Index(now))
	manifest, err := now.IndexManifest()
	check(t, err)
	if len(manifest.Manifests) != 2 || manifest.Manifests[1].Annotations["org.opencontainers.image.ref.name"] != "latest" {
		t.Errorf("%+v", manifest.Manifests)
	}
	inner, err := now.ImageIndex(manifest.Manifests[1].Digest)
	check(t, err)
	manifest, err = inner.IndexManifest()
	check(t, err)
	if len(manifest.Manifests) != 2 || manifest.Manifests[0].Platform.Architecture != "arm64" {
		t.Errorf("%+v", manifest.Manifests)
	}
	left, err := os.ReadDir(out)
	check(t, err)
	if len(left) != 3 {
		t.Errorf("%v", left)
	}
}

// TestOrderOfAnArchive checks that the documents of each image follow its layers and
// precede the layers of the next image.
func TestOrderOfAnArchive(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	one, two := image("usr/bin/one"), image("usr/bin/two")
	writeLayout(in, one, two)
	var text, out bytes.Buffer
	w := tar.NewWriter(&text)
	check(t, w.AddFS(os.DirFS(in)))
	check(t, w.Close())
	images, err := oci.OpenArchive(t.Context(), &text, "in.tar", oci.Options{})
	check(t, err)
	defer images.Close()
	engine, err := signing.New(signing.Options{})
	check(t, err)
	pass := images.RewriteArchive(&out)
	defer pass.Close()
	check(t, goThrough(t.Context(), pass, func(layer *oci.Layer) error {
		p, err := engine.Strip(t.Context(), layer)
		check(t, err)
		defer p.Close()
		change, err := layer.Prepare(t.Context(), p)
		check(t, err)
		return change.Commit(t.Context())
	}))
	var got, want []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		if d, found := strings.CutPrefix(h.Name, "blobs/sha256/"); found && d != "" {
			got = append(got, d)
		}
	}
	for _, i := range []v1.Image{one, two} {
		layers, err := i.Layers()
		check(t, err)
		layer, _ := layers[0].Digest()
		config, _ := i.ConfigName()
		want = append(want, layer.Hex, config.Hex, "")
	}
	if len(got) == len(want) {
		got[2], got[5] = "", "" // the manifests, which are formatted differently
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestUnknownKeysStay checks that a rewrite keeps keys that it does not know.
func TestUnknownKeysStay(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	path := writeLayout(in, image("usr/bin/a"))
	index, err := path.ImageIndex()
	check(t, err)
	manifests, err := index.IndexManifest()
	check(t, err)
	text, err := path.Bytes(manifests.Manifests[0].Digest)
	check(t, err)
	var manifest map[string]any
	check(t, json.Unmarshal(text, &manifest))
	manifest["vendor.key"] = "stays"
	manifest["config"].(map[string]any)["data"] = "e30="
	text, err = json.Marshal(manifest)
	check(t, err)
	digest, size, err := v1.SHA256(strings.NewReader(string(text)))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(in, "blobs/sha256", digest.Hex), text, 0o644))
	manifests.Manifests[0].Digest, manifests.Manifests[0].Size = digest, size
	text, err = json.Marshal(manifests)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(in, "index.json"), text, 0o644))
	out, err := signed(t, in, oci.Options{})
	check(t, err)
	met := 0
	check(t, filepath.WalkDir(filepath.Join(out, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), `"vendor.key":"stays"`) {
			if met++; strings.Contains(string(text), `"data"`) {
				t.Error("a descriptor embeds the content of another blob")
			}
		}
		return err
	}))
	if met != 1 {
		t.Errorf("%d manifests have the unknown key", met)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	if _, err := oci.Open(dir, oci.Options{}); !errors.Is(err, oci.ErrFormat) {
		t.Error(err)
	}
	in := filepath.Join(dir, "in")
	writeLayout(in, image("a"))
	images, err := oci.Open(in, oci.Options{})
	check(t, err)
	if _, err := images.Rewrite(dir); !errors.Is(err, oci.ErrExists) {
		t.Error(err)
	}
	cause := errors.New("stop")
	err = rewrite(t, images, filepath.Join(dir, "out"), func(context.Context, signing.Source) (*signing.Plan, error) { return nil, cause })
	if left, _ := os.ReadDir(dir); !errors.Is(err, cause) || len(left) != 1 {
		t.Errorf("%v, left %v", err, left)
	}
}
