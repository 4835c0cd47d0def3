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

// Prepare makes the signature header that the package gets by the plan, with the OpenPGP
// signatures of Options.OpenPGP. It refuses whatever can be refused, and changes nothing:
// a plan of another package, a header that rpm would not read (ErrHeaderTooLarge,
// ErrMainHeader), a change outside of what was named (ErrOutside). Of a plan without
// signatures (signing.ErrUnsignedPlan) it only tells that the package would change. A
// source package stays as it is, whatever the plan.
//
// Commit writes the package whole or not at all, with the mode and owner of the old one
// and a new mtime: a package that fits its reserve keeps its size, and with the old mtime
// as well createrepo_c and rsync would miss the change. Its errors say so where
// the package is as it was. Without a change there is something to commit only where
// Options.Output asks for a copy.
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

// peculiar returns the signature header without file signatures, and the padding
// behind it, if it is one that keeps its layout (insert); nil for one that is laid out
// anew. rpm takes those of version 6 in one layout alone.
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

// inserted returns a peculiar header with file signatures, padded; without any it is
// as it was.
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

// rebuilt lays the header out anew, with own in place of what it has of the tags.
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

// misplaced reports whether tags with file signatures are where they should not
// be.
func (p *Package) misplaced() bool {
	return slices.ContainsFunc(p.values.defects, func(d Defect) bool {
		return d.Flaw == flawOutside || d.Flaw == flawUnsorted
	})
}

// planned returns the file signatures that the plan states, nil for one that takes
// them away.
func (p *Package) planned(plan *signing.Plan) ([][]byte, error) {
	values, stripped := make([][]byte, len(p.files)), plan.Strips()
	at := 0
	for r, err := range plan.Records() {
		switch {
		case err != nil:
			return nil, err
		case at >= len(values) || r.Path != p.files[at].Path:
			return nil, fmt.Errorf("the plan is of another package: it has %q as file %d", r.Path, at)
		}
		values[at] = r.Final(ima.XattrIMA)
		at++
	}
	if at != len(values) {
		return nil, fmt.Errorf("the plan is of another package: it has %d of %d files", at, len(values))
	}
	signed := slices.ContainsFunc(values, func(v []byte) bool { return v != nil })
	if !signed && (stripped || p.staysUnsigned()) {
		return nil, nil
	}
	return values, nil
}

// staysUnsigned reports whether a plan without any value leaves the package as it is:
// none of its files was selected. Packages whose files cannot have signatures get the
// tags, as rpmsign gives them.
func (p *Package) staysUnsigned() bool {
	return !p.sig.has(tagFileSignatures) && slices.ContainsFunc(p.files, func(f file) bool { return f.Digest != nil })
}

// write writes the package with a signature header, padded, in place of its own.
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

// copyRest copies main header and payload, in the kernel where it can: file
// systems that share extents copy nothing.
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
