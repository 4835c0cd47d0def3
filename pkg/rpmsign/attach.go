package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Prepare makes the signature header that the plan describes, with the OpenPGP signatures
// of Options.OpenPGP. It changes no file. It refuses a plan of another package, a header
// that rpm would not read (ErrHeaderTooLarge), file signatures that cannot be changed
// (ErrMainHeader), and a package outside the named paths (ErrOutside). For a plan without
// signatures (signing.ErrUnsignedPlan) the change only tells that the package would change.
// A source package is never changed.
//
// Commit writes the package whole or not at all, after a second reader has found in it what
// was to be written (reread). The package keeps its mode and owner and gets a new mtime: a
// package that fits its reserve keeps its size, so createrepo_c and rsync would miss the
// change if it kept its mtime as well. An error says if the package is as it was. Without a
// change, Commit is nil unless Options.Output asks for a copy.
func (p *Package) Prepare(ctx context.Context, plan *signing.Plan) (*signing.Change, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if p.Source() {
		return p.change(rewritten{}, 0), nil
	}
	unsigned := plan.Attachable()
	c := &signing.Change{Any: true, Commit: func(context.Context) error { return unsigned }}
	if unsigned == nil {
		h, err := p.signatureHeader(plan)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", p.path, err)
		}
		c = p.change(h, plan.Counts().Pending())
	}
	if c.Any && p.options.Outside != "" {
		return nil, fmt.Errorf("write %s, which is %s: %w", p.path, p.options.Outside, ErrOutside)
	}
	return c, nil
}

// rewritten is a new signature header. The zero value stands for the one that the package
// has.
type rewritten struct {
	raw    []byte  // padded
	values []value // what it has besides its region and its reserve, in any order
}

// change returns the change that writes the package with the signature header.
func (p *Package) change(h rewritten, entries int64) *signing.Change {
	c := &signing.Change{Any: h.raw != nil}
	if h.raw != nil {
		c.Grows = int64(len(h.raw)) - padded(int64(len(p.sig.raw)))
	}
	if h.raw != nil || p.options.Output != "" {
		c.Commit = func(ctx context.Context) error { return p.replace(ctx, h, entries) }
	}
	return c
}

// replace writes the package with the signature header.
func (p *Package) replace(ctx context.Context, h rewritten, entries int64) error {
	if h.raw == nil && p.options.Share {
		if done, err := p.shareUnchanged(); done || err != nil {
			return err
		}
	}
	if h.raw == nil {
		h = rewritten{slices.Concat(p.sig.raw, p.pad), p.sig.kept()}
	}
	p.options.Observe.Tell(signing.Event{Kind: signing.Attaching, Entries: entries})
	switch err := p.write(ctx, h); {
	case errors.Is(err, atomicfile.ErrUnsynced):
		return err
	case err != nil:
		return fmt.Errorf("write %s: %w; %w", p.Target(), err, errRestored)
	}
	p.options.Observe.Tell(signing.Event{Kind: signing.Attached, Path: p.path, Entries: entries})
	return nil
}

// signatureHeader returns the new signature header. It is the zero value if the old one
// needs no change.
func (p *Package) signatureHeader(plan *signing.Plan) (rewritten, error) {
	values, err := p.planned(plan)
	if err != nil {
		return rewritten{}, err
	}
	own, err := p.besideMain(values)
	if err != nil {
		return rewritten{}, err
	}
	tags := fileSignatureTags()
	same := slices.EqualFunc(own, p.sig.having(tags...), value.equal) && !p.misplaced()
	if key := p.options.OpenPGP; key != nil {
		signatures, current, err := p.openpgp(key)
		if err != nil {
			return rewritten{}, err
		}
		if !current {
			return p.rebuilt(append(own, signatures...), append(tags, openPGPTags()...))
		}
	}
	if same {
		return rewritten{}, nil
	}
	if base, pad := p.peculiar(); base != nil {
		raw, err := inserted(base, pad, own, p.options.MaxHeader)
		return rewritten{raw, append(base.kept(), own...)}, err
	}
	return p.rebuilt(own, tags)
}

// peculiar returns the signature header without file signatures, and the padding after it,
// if signing keeps its layout (insert). It returns nil if the header gets a new layout. rpm
// accepts only one layout for packages of version 6.
func (p *Package) peculiar() (base *header, pad []byte) {
	switch {
	case p.format() >= 6:
		return nil, nil
	case p.sig.has(tagFileSignatures) || p.sig.has(tagFileSignatureLength):
		return p.sig.withoutInserted()
	case p.sig.restorable(p.pad):
		return nil, nil
	}
	return p.sig, p.pad
}

// inserted returns a peculiar header with file signatures, padded. Without signatures it
// returns the original header.
func inserted(base *header, pad []byte, own []value, limit uint32) ([]byte, error) {
	if len(own) == 0 {
		return withZeros(slices.Concat(base.raw, pad)), nil
	}
	own = withPadding(own, pad)
	if err := base.checkInserted(own, limit); err != nil {
		return nil, err
	}
	return withZeros(base.insert(own)), nil
}

// withZeros pads a signature header.
func withZeros(raw []byte) []byte {
	return append(raw, make([]byte, padded(int64(len(raw)))-int64(len(raw)))...)
}

// rebuilt gives the header a new layout, with own in place of its entries with the tags.
func (p *Package) rebuilt(own []value, tags []tagNumber) (rewritten, error) {
	kept := p.sig.kept(tags...)
	values := p.sig.withReserve(kept, own, p.sig.having(tags...))
	if err := checkLimit(values, p.options.MaxHeader); err != nil {
		return rewritten{}, err
	}
	return rewritten{withZeros(build(values)), append(kept, own...)}, nil
}

func (v value) equal(o value) bool {
	return v.tag == o.tag && v.typ == o.typ && v.count == o.count && bytes.Equal(v.data, o.data)
}

// misplaced reports whether tags with file signatures are outside the region or out of
// order.
func (p *Package) misplaced() bool {
	return slices.ContainsFunc(p.values.defects, func(d Defect) bool {
		return d.Flaw == flawOutside || d.Flaw == flawUnsorted
	})
}

// planned returns the file signatures of the plan by file. It returns nil for a plan that
// removes them.
func (p *Package) planned(plan *signing.Plan) ([][]byte, error) {
	values, stripped := make([][]byte, len(p.files)), plan.Strips()
	at := 0
	for r, err := range plan.Records() {
		switch {
		case err != nil:
			return nil, err
		case at >= len(values) || r.Path != p.files[at].Path:
			return nil, fmt.Errorf("the plan describes another package: its file %[2]d is %[1]q", r.Path, at)
		}
		values[at] = r.Final(ima.XattrIMA)
		at++
	}
	if at != len(values) {
		return nil, fmt.Errorf("the plan describes another package: it has %d of %d files", at, len(values))
	}
	signed := slices.ContainsFunc(values, func(v []byte) bool { return v != nil })
	if !signed && (stripped || p.staysUnsigned()) {
		return nil, nil
	}
	return values, nil
}

// staysUnsigned reports whether a plan without values leaves the package unchanged, because
// none of its files was selected. A package whose files cannot have signatures gets the
// tags, as rpmsign writes them.
func (p *Package) staysUnsigned() bool {
	return !p.sig.has(tagFileSignatures) && slices.ContainsFunc(p.files, func(f file) bool { return f.Digest != nil })
}

// write writes the package with another signature header.
func (p *Package) write(ctx context.Context, h rewritten) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	f, err := atomicfile.Create(p.Target(), p.stat.Mode().Perm())
	if err != nil {
		return err
	}
	defer f.Abort()
	for _, part := range [][]byte{p.lead, h.raw} {
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	if err := p.copyRest(ctx, f); err != nil {
		return err
	}
	if err := p.unchanged(); err != nil {
		return err
	}
	if err := p.reread(f, int64(len(h.raw)), h.values); err != nil {
		return err
	}
	if err := f.SetModTime(p.newModTime(time.Now())); err != nil {
		return err
	}
	return f.Commit()
}

// copyRest copies the main header and the payload. If possible the kernel copies them, which
// takes no time on file systems that share extents.
func (p *Package) copyRest(ctx context.Context, f *atomicfile.File) error {
	const chunk = 64 << 20
	if _, err := p.file.Seek(p.mainAt, io.SeekStart); err != nil {
		return err
	}
	for left := p.size - p.mainAt; left > 0; {
		n, err := f.ReadFrom(&io.LimitedReader{R: p.file, N: min(left, chunk)})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: it became shorter", ErrChanged)
		}
		if left -= n; ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
