package signing

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Plan is what shall become of a container's entries, in the container's order.
// It lies in a spool; Close releases it.
type Plan struct {
	hash    ima.HashID // of every digest; zero where they differ
	public  *ima.PublicKey
	signed  bool // the values to attach are there
	strips  bool
	counts  Counts
	entries int64
	spool   spool
	sorted  bool
	last    string

	digested bool // hash is that of a digest
}

// Counts of a plan's records. Every record is counted once.
type Counts struct {
	Signed, Hashed, Unchanged, Skipped, Stripped int64
	Links                                        int64 // further names of counted inodes
	Bytes                                        int64 // content digested

	// Of those signed and hashed: Rehashed replace what the same key made over another
	// hash, Forced what only Options.Force replaces.
	Rehashed, Forced int64
}

func (c *Counts) add(r *Record, bytes int64) {
	c.Bytes += bytes
	switch {
	case r.Status == Skipped:
		c.Skipped++
	case !r.first():
		c.Links++
	case r.Status == Signed:
		c.Signed++
		c.replaces(r.Replaced)
	case r.Status == Hashed:
		c.Hashed++
		c.replaces(r.Replaced)
	case r.Status == Unchanged:
		c.Unchanged++
	case r.Status == Stripped:
		c.Stripped++
	}
}

func (c *Counts) replaces(what Replaced) {
	switch what {
	case OtherHash:
		c.Rehashed++
	case NotOurs:
		c.Forced++
	case Nothing, Stale, MaybeOurs:
	}
}

// Sum adds what o counted.
func (c *Counts) Sum(o Counts) {
	c.Signed += o.Signed
	c.Hashed += o.Hashed
	c.Unchanged += o.Unchanged
	c.Skipped += o.Skipped
	c.Stripped += o.Stripped
	c.Links += o.Links
	c.Bytes += o.Bytes
	c.Rehashed += o.Rehashed
	c.Forced += o.Forced
}

// Pending returns how many records attaching would change.
func (c Counts) Pending() int64 { return c.Signed + c.Hashed + c.Stripped }

// Records yields the records in the container's order, as often as asked.
func (p *Plan) Records() iter.Seq2[Record, error] { return p.spool.all() }

// Counts returns the plan's totals.
func (p *Plan) Counts() Counts { return p.counts }

// Strips reports whether the plan takes signatures away instead of making them.
func (p *Plan) Strips() bool { return p.strips }

// Attachable returns nil, or ErrUnsignedPlan for a dry run's plan.
func (p *Plan) Attachable() error {
	if !p.signed && p.counts.Signed > 0 {
		return ErrUnsignedPlan
	}
	return nil
}

// Close releases the spool.
func (p *Plan) Close() error { return p.spool.close() }

func (p *Plan) add(r *Record, bytes int64) error {
	p.entries++
	p.counts.add(r, bytes)
	p.sorted = p.sorted && p.last <= r.Path
	p.last = r.Path
	p.note(r)
	return p.spool.add(r)
}

// note keeps which hash the digests have in common; a container that states its
// digests chooses it.
func (p *Plan) note(r *Record) {
	switch {
	case len(r.Digest) == 0:
	case !p.digested:
		p.hash, p.digested = r.Hash, true
	case p.hash != r.Hash:
		p.hash = 0
	}
}

// planned is a job on its way from the decision to the spool.
type planned struct {
	job  *job
	slot *slot
}

// planner connects the three stages: entries are digested and judged (inOrder),
// their digests are signed in batches, and records are spooled in order.
type planner struct {
	engine *Engine
	plan   *Plan
	sign   *batcher
	out    chan planned
	failed bool // a file failed: digest the rest for its errors, sign no more
}

func (e *Engine) plan(ctx context.Context, src Source, w worker) (*Plan, error) {
	p := &planner{
		engine: e,
		plan:   &Plan{hash: e.hash, public: e.public, signed: e.signer != nil, sorted: true, spool: spool{dir: e.spool}},
		// Enough for every signing goroutine to have a batch and another one coming.
		out: make(chan planned, 2*batchSize*(e.signers+1)),
	}
	var failures Errors
	g, gctx := errgroup.WithContext(ctx)
	p.sign = e.startSigners(gctx, g)
	g.Go(func() error { return p.write(gctx, &failures) })
	g.Go(func() (err error) {
		defer close(p.out)
		defer func() { p.sign.close(err) }()
		if err = inOrder(gctx, e.jobs, src, w, func(j *job) error { return p.next(gctx, j) }); err != nil {
			return err
		}
		return p.sign.flush(gctx)
	})
	err := g.Wait()
	switch {
	case err == nil:
		err = failures.err()
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default: // what failed before is to be repaired as well
		err = errors.Join(err, failures.err())
	}
	if err != nil {
		_ = p.plan.Close()
		return nil, err
	}
	return p.plan, nil
}

// next takes the jobs in the container's order.
func (p *planner) next(ctx context.Context, j *job) error {
	p.failed = p.failed || j.err != nil
	if j.status == Signed && j.slot == nil && p.engine.signer != nil && !p.failed {
		slot, isNew := p.engine.memo.slot(p.sign, j.Hash, j.Digest)
		if j.slot = slot; isNew {
			if err := p.sign.add(ctx, slot); err != nil {
				return err
			}
		}
	}
	item := planned{j, j.slot}
	select {
	case p.out <- item:
		return nil
	default: // the writer may be waiting for a batch that is not full yet
	}
	if err := p.sign.flush(ctx); err != nil {
		return err
	}
	select {
	case p.out <- item:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write spools the records in order. It alone counts, collects errors and speaks
// to the observer.
func (p *planner) write(ctx context.Context, failures *Errors) error {
	var evm, maybe int64
	for item := range p.out {
		j := item.job
		if j.err != nil {
			failures.add(j.err)
			continue
		}
		r := Record{Entry: j.Entry, Status: j.status, Replaced: j.replaced, Values: j.values}
		if item.slot != nil {
			value, err := p.value(ctx, item.slot)
			if err != nil {
				return err
			}
			r.Values = map[string][]byte{ima.XattrIMA: value}
		}
		if _, covered := r.Xattrs[ima.XattrEVM]; covered && r.Pending() && r.Status != Stripped {
			evm++
		}
		if r.Replaced == MaybeOurs && r.Pending() {
			maybe++
		}
		if err := p.plan.add(&r, j.bytes); err != nil {
			return err
		}
		p.engine.observe.Tell(Event{Kind: Planned, Path: j.Path, Entries: 1, Bytes: j.bytes})
	}
	if evm > 0 {
		p.engine.observe.Warn("", fmt.Sprintf("%d files have a security.evm that covers their old security.ima: a kernel with EVM will refuse them until it is made anew", evm))
	}
	if maybe > 0 {
		p.engine.observe.Warn("", fmt.Sprintf("%d files have a signature with this key's id that does not hold for their content, and get a new one: they have changed since, or another key has the same id (an ECDSA signature does not tell which)", maybe))
	}
	return nil
}

// value waits for a signature. Where the plan that was to make it fails or is
// cancelled, this one makes it.
func (p *planner) value(ctx context.Context, s *slot) ([]byte, error) {
	for {
		value, err := s.wait(ctx)
		if err == nil || s.owner == p.sign || ctx.Err() != nil {
			return value, err
		}
		next, isNew := p.engine.memo.slot(p.sign, s.hash, s.digest)
		if s = next; isNew {
			_ = p.engine.signBatch(ctx, []*slot{s}) // its error is the slot's
		}
	}
}

func (s *slot) wait(ctx context.Context) ([]byte, error) {
	select {
	case <-s.done:
		return s.value, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
