package tarball

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/pkg/signing"
)

// recordSize is the size of a record: programs fill archives up to a multiple of 20 blocks.
const recordSize = 20 * blockSize

// Copy is an archive whose signed copy is written somewhere else.
type Copy struct {
	*Archive

	// Output calls write with the writer of the copy, and keeps the copy only if write
	// returns nil.
	Output func(ctx context.Context, write func(io.Writer) error) error
}

// Prepare returns the change that writes the copy. Commit writes it even if the plan changes
// nothing. Prepare never returns an error. Commit returns those of [Archive.Rewrite].
func (c *Copy) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	return &signing.Change{Any: plan.Counts().Pending() > 0, Commit: func(ctx context.Context) error {
		return c.Output(ctx, func(w io.Writer) error { return c.Rewrite(ctx, plan, w) })
	}}, nil
}

// Rewrite writes the archive, uncompressed and with the values of the plan, to w. The plan
// must be for this archive. The error wraps [signing.ErrUnsignedPlan], or is that of w or
// of reading the archive. After an error the output is incomplete.
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

// onlyWriter hides the ReadFrom method of a writer, whose buffer would be smaller than that
// of this package.
type onlyWriter struct{ io.Writer }

type rewriter struct {
	*Archive
	scan  *scanner
	out   *bufio.Writer
	from  int64 // offset up to which the input is written
	grown int64 // number of bytes by which the output is longer

	at    int64                       // start of the member that was scanned last
	ahead map[int64]map[string][]byte // values to attach, by the start of their member
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

// lookAhead collects the values that later hard links attach to an earlier entry.
func (r *rewriter) lookAhead(plan *signing.Plan) error {
	last := int64(-1)
	for record, err := range plan.Records() {
		if err != nil {
			return err
		}
		offset, err := offsetOf(record.Token)
		if err != nil {
			return err
		}
		if offset < last && record.Same == "" && record.Status() != signing.Skipped {
			r.ahead[offset] = record.ByXattr()
		}
		last = max(last, offset)
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

// find scans to the member at offset, and attaches the values of the members up to it.
func (r *rewriter) find(ctx context.Context, offset int64) error {
	for r.at < offset {
		m, err := r.scan.next()
		switch {
		case errors.Is(err, io.EOF), err == nil && m.start > offset:
			return fmt.Errorf("the plan is for another archive: no entry begins at byte %d", offset)
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

// attach writes the member's extended header with the values, unless it has them already.
// A new header goes before GNU's long names, because tar2sqfs forgets long names that are
// followed by an extended header.
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

// copy writes the input up to the offset to.
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
			return fmt.Errorf("%w: it ends at byte %d now", ErrTruncated, r.from)
		}
	}
	return nil
}
