package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
)

// renamed returns a file's name after its content changed. A blob gets the name of the
// new blob. In other names, the digest of the old content becomes that of the new one.
func renamed(name string, was, now rewritten) string {
	if was.digest == now.digest {
		return name
	}
	if blobDigest(name) != "" {
		return now.digest.path()
	}
	dir, base := path.Split(name)
	base = strings.ReplaceAll(base, was.digest.hex(), now.digest.hex())
	if was.diffID != "" {
		base = strings.ReplaceAll(base, was.diffID.hex(), now.diffID.hex())
	}
	return dir + base
}

// blobDigest returns the digest in a blob's file name, "" for a file that is not a blob.
func blobDigest(name string) digest {
	d, err := parseDigest(path.Base(path.Dir(name)) + ":" + path.Base(name))
	if err != nil || d.path() != name {
		return ""
	}
	return d
}

func (w *walk) putBytes(name string, like *item, text []byte) error {
	if w.out == nil || w.out.has(name) {
		return nil
	}
	return w.out.put(name, like, int64(len(text)), bytes.NewReader(text))
}

// put writes the document now if it differs from before, and copies its blob otherwise.
func (w *walk) put(ctx context.Context, d *descriptor, before []byte, now object) (rewritten, error) {
	same := rewritten{digest: d.digest, size: d.size}
	text, err := json.Marshal(now)
	if err != nil {
		return rewritten{}, err
	}
	if bytes.Equal(text, before) || w.out == nil {
		return same, w.copyBlob(ctx, d)
	}
	became := rewritten{digest: digestOfBytes(text), size: int64(len(text))}
	w.replaced[d.digest.path()] = became.digest.path()
	i, err := w.resolve(d.digest.path())
	if err != nil {
		return same, err
	}
	return became, w.putBytes(became.digest.path(), i, text)
}

// copyBlob copies a blob unchanged, and checks its digest.
func (w *walk) copyBlob(ctx context.Context, d *descriptor) error {
	if w.out == nil {
		return w.verify(ctx, d)
	}
	name := d.digest.path()
	if w.out.has(name) {
		return w.verify(ctx, d)
	}
	b, err := w.blob(d)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	i, err := w.resolve(name)
	if err != nil {
		return err
	}
	h := d.digest.hash()
	if err := w.out.put(name, i, b.size, io.TeeReader(contextReader{ctx, b.reader()}, h)); err != nil {
		return fmt.Errorf("copy %s: %w", d.digest, err)
	}
	if err := d.is(b.size, h); err != nil {
		return err
	}
	w.sizes[d.digest] = b.size
	return nil
}

// copyFile copies a file under its name.
func (w *walk) copyFile(ctx context.Context, name string) error {
	if w.out.has(name) {
		return nil
	}
	i, err := w.resolve(name)
	if err != nil {
		return err
	}
	b, err := w.open(name)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	if err := w.out.put(name, i, b.size, contextReader{ctx, b.reader()}); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}
