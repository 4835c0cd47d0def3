package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	ggcr "github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Sign the layers of an image.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	writeLayout(in, image("usr/bin/hello", "etc/.wh.gone"))

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	public, err := ima.BareKey(key.Public())
	must(err)
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	must(err)
	images, err := oci.Open(in, oci.Options{})
	must(err)
	pass, err := images.Rewrite(out)
	must(err)
	defer pass.Close()
	ctx := context.Background()
	places, err := pass.Layers(ctx)
	must(err)
	for _, at := range places {
		layer, err := pass.Open(ctx, at)
		must(err)
		plan, err := engine.Plan(ctx, layer)
		must(err)
		change, err := layer.Prepare(ctx, plan)
		must(err)
		must(change.Commit(ctx))
		must(errors.Join(plan.Close(), layer.Close()))
	}
	must(pass.Finish(ctx))

	images, err = oci.Open(out, oci.Options{})
	must(err)
	look := images.Look()
	places, err = look.Layers(ctx)
	must(err)
	layer, err := look.Open(ctx, places[0])
	must(err)
	must(engine.Verify(ctx, layer, signing.Trust{Ring: ima.NewKeyring(public)}, func(v signing.Verdict) error {
		fmt.Printf("%s: %s %q\n", v.Path, v.Outcome, v.Reason)
		return nil
	}))
	// Output:
	// usr/bin/hello: ok ""
	// etc/.wh.gone: ignored "whiteout"
}

// image is an image of one layer with these files.
func image(files ...string) v1.Image {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, name := range files {
		must(w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(name))}))
		_, err := w.Write([]byte(name))
		must(err)
	}
	must(w.Close())
	layer, err := ggcr.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil }, ggcr.WithMediaType(types.OCILayer))
	must(err)
	image, err := mutate.ConfigFile(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1),
		&v1.ConfigFile{OS: "linux", Architecture: "arm64", RootFS: v1.RootFS{Type: "layers"}})
	must(err)
	image, err = mutate.AppendLayers(image, layer)
	must(err)
	return image
}

func writeLayout(dir string, images ...v1.Image) layout.Path {
	path, err := layout.Write(dir, empty.Index)
	must(err)
	for _, image := range images {
		must(path.AppendImage(image))
	}
	return path
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
