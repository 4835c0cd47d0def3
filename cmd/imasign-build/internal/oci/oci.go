// Package oci is container images at rest as a row of containers: each of their
// layers is a tar archive, whose entries get signatures. A Pass opens them one after
// the other and then goes through the documents, which name what became of them. Images come as an OCI image
// layout directory, as an archive of one (oci-archive) or as what `docker save` and
// `podman save` write (docker-archive); they are written as they came. The layers
// are pkg/tarball's. This package keeps digests, sizes and diff ids of configs,
// manifests and indexes in agreement, takes away annotations that describe the bytes
// of a blob which changed, and leaves everything else in these documents as it was,
// known here or not.
//
// Content decides, not what a document says about itself: a manifest one of whose
// layers is a tar archive is an image, whatever its media types, annotations, subject
// or config are. Documents that two readers could read differently are refused.
//
// A rewritten image is another image: signatures and attestations of the old one
// leave the index, and are named. Registries are not spoken to.
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
	// ErrUnsupported means a layer that cannot be signed: encrypted, no tar archive,
	// or not in the layout.
	ErrUnsupported = errors.New("cannot be signed")
	// ErrExists means that the output is there already.
	ErrExists = errors.New("exists already and is not overwritten")
	// ErrSpool means that a layer could not be kept in a temporary file.
	ErrSpool = errors.New("spool")
)

// Limits of documents, which are held in memory, of indexes in indexes, and of
// manifests that refer to manifests.
const (
	maxDocument = 8 << 20
	maxDepth    = 8
	maxChain    = 64
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

// Layout is the images in a directory or an archive, which is only read.
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

// OpenArchive opens an archive of images, called name in errors, which is read as
// tarball.Open does. The caller closes in, after the Layout.
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
		return fmt.Errorf("%w: an archive of images from before docker 1.10: docker load it and save it anew", ErrFormat)
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

// asFormat makes any error about a part of the layout one about its format.
func asFormat(err error) error {
	if err == nil || errors.Is(err, ErrFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// Close lets go of the directory or the archive.
func (l *Layout) Close() error { return l.store.Close() }

// Compression is how an archive was compressed, compress.None for a directory.
func (l *Layout) Compression() compress.Format {
	if l.archive == nil {
		return compress.None
	}
	return compress.Format(l.archive.Compression())
}

// LeftOut is what the last Pass took away because it described bytes that
// changed, and how often: annotations by their keys, "data" and "urls" of descriptors.
func (l *Layout) LeftOut() map[string]int { return l.leftOut }

// layer is a layer that was met, and what became of it.
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

// diffID is the digest of a layer's content, which that of an uncompressed blob
// says already.
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
