package oci

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// rest copies files that no document names, and writes links to the new names of their
// targets.
func (w *walk) rest(ctx context.Context) error {
	for _, i := range w.order {
		if w.replaced[i.name] != "" || !i.mode.IsRegular() {
			continue
		}
		if err := w.copyFile(ctx, i.name); err != nil {
			return err
		}
	}
	for _, i := range w.order {
		if w.replaced[i.name] != "" || !i.isLink() || w.out.has(i.name) {
			continue
		}
		if err := w.copyLink(i); err != nil {
			return fmt.Errorf("copy %s: %w", i.name, err)
		}
	}
	return nil
}

func (w *walk) copyLink(i *item) error {
	target := i.link
	if now := w.replaced[target]; now != "" {
		target = now
	}
	target, err := filepath.Rel(path.Dir(i.name), target)
	if err != nil {
		return err
	}
	return w.out.special(i, target)
}

// rewriteLayer writes a layer, compressed as before, or copies it if nothing changes.
func (w *walk) rewriteLayer(ctx context.Context, met *layer, a *tarball.Archive, p *signing.Plan) error {
	if p.Counts().Pending() == 0 {
		return w.copyFile(ctx, met.name)
	}
	i, err := w.resolve(met.name)
	if err != nil {
		return err
	}
	f, err := w.out.temporary()
	if err != nil {
		return err
	}
	if met.now, err = w.compress(ctx, f, a, p); err != nil {
		w.out.drop(f)
		return err
	}
	met.isChanged = met.now.digest != met.was.digest
	becomes := renamed(met.name, met.was, met.now)
	if becomes != met.name {
		w.replaced[met.name] = becomes
	}
	if w.out.has(becomes) { // another layer became the same blob
		w.out.drop(f)
		return nil
	}
	return w.out.adopt(f, becomes, i, met.now.size)
}

// compress writes a layer with the values that the plan attaches.
func (w *walk) compress(ctx context.Context, f *os.File, a *tarball.Archive, p *signing.Plan) (now rewritten, err error) {
	blob, diff, size := sha256.New(), sha256.New(), &counter{}
	z, err := compress.Archives().Writer(ctx, io.MultiWriter(f, blob, size), compress.Format(a.Compression()), w.opts.Jobs)
	if err != nil {
		return now, err
	}
	if err := a.Rewrite(ctx, p, io.MultiWriter(z, diff)); err != nil {
		return now, err
	}
	if err := z.Close(); err != nil {
		return now, err
	}
	return rewritten{digestOf(blob), size.n, digestOf(diff)}, nil
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}
