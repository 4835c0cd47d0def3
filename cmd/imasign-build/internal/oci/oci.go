// Package oci signs the layers of stored container images. Each layer is a tar archive,
// and one container for package operate. A Pass opens the layers in turn and then
// rewrites the documents that name them.
//
// An image is a directory with an OCI image layout, an archive of one (oci-archive), or
// an archive by `docker save` or `podman save` (docker-archive). The output is of the
// same kind. pkg/tarball reads and writes the layers. This package updates the digests,
// sizes and diff ids in configs, manifests and indexes. It removes annotations that
// describe the bytes of a changed blob, and keeps everything else in these documents,
// including keys that it does not know.
//
// Content decides, not what a document says about itself: a manifest with a layer that is
// a tar archive is an image, whatever its media types, annotations, subject or config
// are. Documents that two readers could read differently are refused.
//
// A rewritten image is another image. Signatures and attestations of the old image are
// removed from the index, and reported. This package does not contact registries.
//
// Formats: OCI image-spec 1.1 (image-layout.md, manifest.md, image-index.md,
// config.md); moby image/spec v1.2 for manifest.json.
package oci

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// Errors that callers decide by.
var (
	// ErrFormat means that the input is not an image layout, that its parts do not agree
	// with the digests and sizes that name them, or that it can be read in two ways.
	ErrFormat = errors.New("not a valid OCI image layout")
	// ErrUnsupported means a layer that cannot be signed: it is encrypted, is not a tar
	// archive, or is not in the layout.
	ErrUnsupported = errors.New("cannot be signed")
	// ErrExists means that the output exists already.
	ErrExists = errors.New("already exists")
	// ErrSpool means that a layer could not be kept in a temporary file.
	ErrSpool = errors.New("spool")
)

// Limits of the size of documents, which are held in memory, of nested indexes, and of
// chains of manifests that refer to manifests.
const (
	maxDocument = 8 << 20
	maxDepth    = 8
	maxChain    = 64
)

// Options of Open.
type Options struct {
	// Archive says how layers are read. Whiteouts are always recognised.
	Archive tarball.Options
	// Jobs is how many goroutines compress; zero means one for each core.
	Jobs int
	// Observe gets progress and warnings, from any goroutine.
	Observe signing.Observer
}

// Layout is a directory or archive of images. It is only read.
type Layout struct {
	*store
	opts   Options
	oci    bool // there is an index.json
	docker bool // there is docker's manifest.json

	leftOut map[string]int
}

// Open opens the layout in a directory.
func Open(dir string, o Options) (*Layout, error) {
	s, err := openDir(dir)
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			err = fmt.Errorf("%s: %w: %w", dir, ErrFormat, err)
		}
		return nil, err
	}
	return newLayout(s, o)
}

// OpenArchive opens an archive of images, and reads it like tarball.Open. Errors call it
// name. The caller closes in, after the Layout.
func OpenArchive(ctx context.Context, in io.Reader, name string, o Options) (*Layout, error) {
	o.Archive.Observe = o.Observe
	s, err := openArchive(ctx, in, name, o.Archive)
	if err != nil {
		return nil, err
	}
	return newLayout(s, o)
}

func newLayout(s *store, o Options) (*Layout, error) {
	o.Archive.Whiteouts, o.Archive.Observe = true, o.Observe
	l := &Layout{store: s, opts: o}
	_, hasIndex := s.items["index.json"]
	_, hasMarker := s.items["oci-layout"]
	_, hasManifest := s.items["manifest.json"]
	l.oci, l.docker = hasIndex || hasMarker, hasManifest
	if err := l.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), s.Close())
	}
	return l, nil
}

// check checks that there are images.
func (l *Layout) check() error {
	_, legacy := l.items["repositories"]
	switch {
	case !l.oci && !l.docker && legacy:
		return fmt.Errorf("%w: an archive of images from before docker 1.10: load it with docker and save it again", ErrFormat)
	case !l.oci && !l.docker:
		return fmt.Errorf("%w: it has neither oci-layout with index.json nor docker's manifest.json", ErrFormat)
	}
	if l.oci {
		text, err := l.text("oci-layout")
		if err == nil {
			_, err = parseObject(text, markerKeys)
		}
		if err != nil {
			return asFormat(fmt.Errorf("oci-layout: %w", err))
		}
	}
	if l.docker {
		_, err := l.dockerImages()
		return err
	}
	return nil
}

// asFormat makes an error wrap ErrFormat.
func asFormat(err error) error {
	if err == nil || errors.Is(err, ErrFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// Close closes the directory, or frees what reading the archive took.
func (l *Layout) Close() error { return l.store.Close() }

// Compression returns how the archive is compressed, compress.None for a directory.
func (l *Layout) Compression() compress.Format {
	if l.archive == nil {
		return compress.None
	}
	return compress.Format(l.archive.Compression())
}

// LeftOut returns what the last Pass removed because it described bytes that changed, and
// how often: the keys of annotations, and "data" and "urls" of descriptors.
func (l *Layout) LeftOut() map[string]int { return l.leftOut }

// layer is a layer that was opened, and what it became.
type layer struct {
	name      string // of its file
	was, now  rewritten
	isChanged bool
	isWritten bool // or there is nothing to write
}

// rewritten is a blob before or after.
type rewritten struct {
	digest digest
	size   int64
	diffID digest // of a layer: of its decompressed content
}

// diffID returns the digest of a layer's decompressed content. For an uncompressed layer
// this is the digest of the blob.
func diffID(ctx context.Context, a *tarball.Archive, blob digest) (digest, error) {
	if compress.Format(a.Compression()) == compress.None && blob.hash().Size() == sha256.Size {
		return blob, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, a.Content()}); err != nil {
		return "", err
	}
	return digestOf(h), nil
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
