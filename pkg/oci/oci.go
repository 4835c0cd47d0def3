// Package oci is an OCI image layout directory as a row of containers: each of
// its layers is a tar archive, whose entries get signatures. The layers are
// pkg/tarball's, the layout's files go-containerregistry's; this package keeps
// digests, sizes and diff ids of configs, manifests and indexes in agreement, and
// everything else in these documents as it was, known here or not.
//
// A rewritten image is another image: signatures and attestations of the old one
// are left out, and named. Registries are not spoken to.
package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// Errors that callers decide by.
var (
	// ErrFormat means a directory that is no image layout, or one whose parts do
	// not agree with the digests and sizes that name them.
	ErrFormat = errors.New("not a valid OCI image layout")
	// ErrUnsupported means a layer that cannot be signed: encrypted, or not in the
	// layout.
	ErrUnsupported = errors.New("cannot be signed")
	// ErrExists means that the output is there already.
	ErrExists = errors.New("exists already and is not overwritten")
)

// Limits of documents, which are held in memory, and of indexes in indexes.
const (
	maxDocument = 8 << 20
	maxDepth    = 8
)

// Options of Open.
type Options struct {
	// Archive is how layers are read; whiteouts are told from files in any case.
	Archive tarball.Options
	// Jobs is how many goroutines compress; zero stands for one a core.
	Jobs int
	// Observe gets progress and warnings, from any goroutine.
	Observe signing.Observer
}

// Layout is an image layout directory, which is only read.
type Layout struct {
	dir  string
	path layout.Path
	opts Options
}

// Open opens the layout in dir.
func Open(dir string, o Options) (*Layout, error) {
	path, err := layout.FromPath(dir)
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "oci-layout"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrFormat, err)
	}
	o.Archive.Whiteouts, o.Archive.Observe = true, o.Observe
	return &Layout{dir: dir, path: path, opts: o}, nil
}

// Visit takes a layer, by its digest, as it is met for the first time.
type Visit func(ctx context.Context, digest string, layer *tarball.Archive) error

// Layers opens every layer of every image in the layout, each once.
func (l *Layout) Layers(ctx context.Context, visit Visit) error {
	w := walk{Layout: l, met: map[v1.Hash]rewritten{}, layer: func(ctx context.Context, d descriptor) (rewritten, error) {
		return rewritten{digest: d.digest}, l.withLayer(ctx, d, func(a *tarball.Archive) error { return visit(ctx, d.digest.String(), a) })
	}}
	_, err := w.index(ctx)
	return err
}

// withLayer has use see the layer, after its blob was found to be what its digest
// says.
func (l *Layout) withLayer(ctx context.Context, d descriptor, use func(*tarball.Archive) error) error {
	name := d.digest.String()
	blob, err := l.path.Blob(d.digest)
	if err != nil {
		return fmt.Errorf("%s: layer %s: %w: it is not in the layout: %w", l.dir, name, ErrUnsupported, err)
	}
	defer blob.Close() //nolint:errcheck // opened for reading
	f, ok := blob.(*os.File)
	if !ok {
		return fmt.Errorf("%s: layer %s: no file", l.dir, name)
	}
	if err := verifyBlob(ctx, f, d); err != nil {
		return fmt.Errorf("%s: layer %s: %w", l.dir, name, err)
	}
	archive, err := tarball.Open(ctx, f, "layer "+name, l.opts.Archive)
	if err != nil {
		return err
	}
	return errors.Join(use(archive), archive.Close())
}

// verifyBlob reads the blob to its end and goes back to its start.
func verifyBlob(ctx context.Context, f *os.File, d descriptor) error {
	sum, n, err := v1.SHA256(contextReader{ctx, f})
	switch {
	case err != nil:
		return err
	case sum != d.digest || n != d.size:
		return fmt.Errorf("%w: the blob has %d bytes and the digest %s", ErrFormat, n, sum)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// document reads a JSON blob, checked against its digest.
func (l *Layout) document(d descriptor, into any) error {
	err := func() error {
		blob, err := l.path.Blob(d.digest)
		if err != nil {
			return err
		}
		defer blob.Close() //nolint:errcheck // opened for reading
		text, err := io.ReadAll(io.LimitReader(blob, maxDocument+1))
		if err != nil {
			return err
		}
		if len(text) > maxDocument {
			return fmt.Errorf("%w: larger than %d bytes", ErrFormat, maxDocument)
		}
		sum, n, err := v1.SHA256(strings.NewReader(string(text)))
		if err != nil {
			return err
		}
		if sum != d.digest || n != d.size {
			return fmt.Errorf("%w: the blob has %d bytes and the digest %s", ErrFormat, n, sum)
		}
		return json.Unmarshal(text, into)
	}()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", l.dir, d.digest, err)
	}
	return nil
}

// isLayer tells whether a media type is that of a tar archive.
func isLayer(t types.MediaType) bool {
	switch t {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
		"application/vnd.docker.image.rootfs.diff.tar.zstd":
		return true
	}
	return false
}
