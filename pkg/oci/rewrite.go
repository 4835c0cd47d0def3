package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// Plan makes the plan of one layer, which Rewrite does not close.
type Plan func(ctx context.Context, digest string, layer *tarball.Archive) (*signing.Plan, error)

// Rewrite writes the layout anew, to a directory that does not exist yet, with
// what the plans attach. The directory appears whole or not at all. Layers to
// which nothing is attached keep their bytes, and images of such layers alone
// their digests.
func (l *Layout) Rewrite(ctx context.Context, dir string, plan Plan) (err error) {
	out, err := newOutput(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.discard()) }()
	w := walk{Layout: l, met: map[v1.Hash]rewritten{}, out: out}
	w.layer = func(ctx context.Context, d descriptor) (became rewritten, err error) {
		err = l.withLayer(ctx, d, func(a *tarball.Archive) error {
			became, err = w.rewriteLayer(ctx, d, a, plan)
			return err
		})
		return became, err
	}
	index, err := w.index(ctx)
	if err != nil {
		return err
	}
	return out.publish(l, index)
}

// rewriteLayer writes a layer as it was compressed, or copies it if nothing
// changes.
func (w *walk) rewriteLayer(ctx context.Context, d descriptor, a *tarball.Archive, plan Plan) (rewritten, error) {
	p, err := plan(ctx, d.digest.String(), a)
	if err != nil {
		return rewritten{}, err
	}
	if p.Counts().Pending() == 0 {
		diff := sha256.New()
		if err := a.Rewrite(ctx, p, diff); err != nil {
			return rewritten{}, err
		}
		return rewritten{d.digest, d.size, hashOf(diff)}, w.copyBlob(d)
	}
	f, err := os.CreateTemp(w.out.dir, "layer-*")
	if err != nil {
		return rewritten{}, err
	}
	defer f.Close() //nolint:errcheck // renamed or removed with the directory
	blob, diff, size := sha256.New(), sha256.New(), &counter{}
	z, err := tarball.Compress(ctx, io.MultiWriter(f, blob, size), a.Compression(), w.opts.Jobs)
	if err != nil {
		return rewritten{}, err
	}
	if err := a.Rewrite(ctx, p, io.MultiWriter(z, diff)); err != nil {
		return rewritten{}, err
	}
	if err := z.Close(); err != nil {
		return rewritten{}, err
	}
	became := rewritten{hashOf(blob), size.n, hashOf(diff)}
	return became, w.out.adopt(f, became.digest)
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// put writes a document that may have changed from before, or copies its blob.
func (w *walk) put(d descriptor, before []byte, now object) (rewritten, error) {
	same := rewritten{digest: d.digest, size: d.size}
	text, err := json.Marshal(now)
	if err != nil {
		return rewritten{}, err
	}
	if bytes.Equal(text, before) || w.out == nil {
		return same, w.copyBlob(d)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(text))
	if err != nil {
		return rewritten{}, err
	}
	return rewritten{digest: digest, size: size}, w.out.path.WriteBlob(digest, io.NopCloser(bytes.NewReader(text)))
}

// copyBlob copies a blob as it is; its digest is checked on the way.
func (w *walk) copyBlob(d descriptor) error {
	if w.out == nil {
		return nil
	}
	blob, err := w.path.Blob(d.digest)
	if err != nil {
		return fmt.Errorf("%s: %w: it is not in the layout: %w", d.digest, ErrFormat, err)
	}
	defer blob.Close() //nolint:errcheck // opened for reading
	if err := w.out.path.WriteBlob(d.digest, blob); err != nil {
		return fmt.Errorf("copy %s: %w", d.digest, err)
	}
	return nil
}

func (w *walk) artifact(blobs []descriptor) error {
	for _, d := range blobs {
		if err := w.copyBlob(d); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a manifest with all blobs that it names.
func (w *walk) copyTree(d descriptor) error {
	if d.mediaType.IsImage() {
		var m object
		if err := w.document(d, &m); err != nil {
			return err
		}
		layers, err := descriptors(m, "layers")
		if err != nil {
			return err
		}
		var config object
		if err := m.get("config", &config); err != nil {
			return err
		}
		if len(config) > 0 {
			c, err := parseDescriptor(config)
			if err != nil {
				return err
			}
			layers = append(layers, c)
		}
		if err := w.artifact(layers); err != nil {
			return err
		}
	}
	return w.copyBlob(d)
}

// output is the new directory before it has its name.
type output struct {
	target, dir string
	path        layout.Path
}

func newOutput(dir string) (*output, error) {
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("create %s: %w", dir, ErrExists)
	}
	dir = filepath.Clean(dir)
	temporary, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(temporary))
	}
	return &output{target: dir, dir: temporary, path: layout.Path(temporary)}, nil
}

// adopt makes a temporary file a blob.
func (o *output) adopt(f *os.File, digest v1.Hash) error {
	blobs := filepath.Join(o.dir, "blobs", digest.Algorithm)
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(blobs, digest.Hex))
}

// publish completes the directory and gives it its name.
func (o *output) publish(l *Layout, index object) error {
	marker, err := readFile(l.dir, "oci-layout")
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(index, "", "   ")
	if err != nil {
		return err
	}
	if err := firstError(o.path.WriteFile("oci-layout", marker, 0o644), o.path.WriteFile("index.json", text, 0o644)); err != nil {
		return err
	}
	d, err := os.Open(o.dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written through it
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write %s: %w", o.target, err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, o.dir, unix.AT_FDCWD, o.target, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // a file system without that flag: an empty directory is all that a rename replaces
		err = os.Rename(o.dir, o.target)
	}
	if errors.Is(err, os.ErrExist) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", o.target, err)
	}
	o.dir = ""
	return nil
}

// discard removes what was not published.
func (o *output) discard() error {
	if o.dir == "" {
		return nil
	}
	return os.RemoveAll(o.dir)
}

// readFile reads one of the layout's two files that are no blobs.
func readFile(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("%s: %w: larger than %d bytes", f.Name(), ErrFormat, maxDocument)
	}
	return text, err
}
