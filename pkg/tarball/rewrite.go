package tarball

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/pkg/signing"
)

// recordSize is what programs fill an archive up to: 20 blocks.
const recordSize = 20 * blockSize

// Copy is an archive and where its copy goes.
type Copy struct {
	*Archive

	// Output calls write with where the copy goes, and keeps it only if write returns nil.
	Output func(ctx context.Context, write func(io.Writer) error) error
}

// Prepare returns the change that writes the copy, whether it differs or not, and no error:
// those of Rewrite are Commit's.
func (c *Copy) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	return &signing.Change{Any: plan.Counts().Pending() > 0, Commit: func(ctx context.Context) error {
		return c.Output(ctx, func(w io.Writer) error { return c.Rewrite(ctx, plan, w) })
	}}, nil
}

// Rewrite writes the archive to w, not compressed, with what the plan attaches.
// The plan is of this archive. After an error, what w got is worthless; errors wrap
// signing.ErrUnsignedPlan, or what reading the archive or w returned.
func (a *Archive) Rewrite(ctx context.Context, plan *signing.Plan, w io.Writer) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	a.opts.Observe.Tell(signing.Event{Kind: signing.Attaching, Entries: plan.Counts().Pending()})
	r := rewriter{Archive: a, scan: a.scan(), at: -1, ahead: map[int64]map[string][]byte{}, out: bufio.NewWriterSize(onlyWriter{w}, 1<<20)}
	err := r.entries(ctx, plan)
	if err == nil {
		err = r.tail(ctx)
	}
	if err == nil {
		err = r.out.Flush()
	}
	if err == nil {
		err = a.unchanged()
	}
	if err != nil {
		return a.errorf(err)
	}
	return nil
}

// onlyWriter hides a ReadFrom, whose buffer would be smaller than ours.
type onlyWriter struct{ io.Writer }

type rewriter struct {
	*Archive
	scan  *scanner
	out   *bufio.Writer
	from  int64 // up to where the input is written
	grown int64 // bytes by which the output is longer

	at    int64                       // where the member that was scanned last starts
	ahead map[int64]map[string][]byte // values to attach, by where their member starts
}

// entries writes the archive up to its last entry.
func (r *rewriter) entries(ctx context.Context, plan *signing.Plan) error {
	if err := r.lookAhead(plan); err != nil {
		return err
	}
	for record, err := range plan.Records() {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if record.Status() == signing.Skipped || record.Same != "" {
			continue
		}
		if err := r.record(ctx, &record); err != nil {
			return fmt.Errorf("%s: %w", record.Path, err)
		}
		if record.Pending() {
			r.opts.Observe.Tell(signing.Event{Kind: signing.Attached, Path: record.Path, Entries: 1})
		}
	}
	if err := r.find(ctx, r.end); err != nil && len(r.ahead) > 0 {
		return err
	}
	return r.copy(ctx, r.end)
}

// lookAhead collects what is attached to entries by hard links that follow them.
func (r *rewriter) lookAhead(plan *signing.Plan) error {
	met := int64(-1)
	for record, err := range plan.Records() {
		if err != nil {
			return err
		}
		offset, err := offsetOf(record.Token)
		if err != nil {
			return err
		}
		if offset < met && record.Same == "" && record.Status() != signing.Skipped {
			r.ahead[offset] = record.ByXattr()
		}
		met = max(met, offset)
	}
	return nil
}

// record attaches a record's values to its entry.
func (r *rewriter) record(ctx context.Context, record *signing.Record) error {
	offset, err := offsetOf(record.Token)
	if err != nil || offset <= r.at {
		return err
	}
	r.ahead[offset] = record.ByXattr()
	return r.find(ctx, offset)
}

// find scans on to the member at offset, and attaches what there is for the members on
// its way.
func (r *rewriter) find(ctx context.Context, offset int64) error {
	for r.at < offset {
		m, err := r.scan.next()
		switch {
		case errors.Is(err, io.EOF), err == nil && m.start > offset:
			return fmt.Errorf("the plan is of another archive: no entry begins at byte %d", offset)
		case err != nil:
			return err
		}
		r.at = m.start
		if values, there := r.ahead[m.start]; there {
			delete(r.ahead, m.start)
			if err := r.attach(ctx, m, values); err != nil {
				return err
			}
		}
	}
	return nil
}

// attach writes the member's extended header with values in it, unless that is
// what it has. A new one goes before GNU's long names: tar2sqfs forgets those
// that an extended header follows.
func (r *rewriter) attach(ctx context.Context, m *member, values map[string][]byte) error {
	old := extension{start: m.start, end: m.start}
	if m.pax != nil {
		old = *m.pax
	} else {
		old.block = newExtension(m)
	}
	records, changed := edit(old.records, values)
	if !changed {
		return nil
	}
	if err := r.copy(ctx, old.start); err != nil {
		return err
	}
	r.from = old.end
	n, err := old.write(r.out, records)
	r.grown += n - (old.end - old.start)
	return err
}

// copy writes the input up to the byte at to.
func (r *rewriter) copy(ctx context.Context, to int64) error {
	for r.from < to {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		part := min(to-r.from, 64<<20)
		n, err := r.out.ReadFrom(io.NewSectionReader(r.file, r.from, part))
		r.from += n
		if err != nil {
			return err
		}
		if n < part {
			return fmt.Errorf("%w: byte %d is not there any more", ErrTruncated, r.from)
		}
	}
	return nil
}
