package signing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/ima"
)

// decision is what the planner or the applier decided about an entry. All names of a hard
// link share it.
type decision = *decided

type decided struct {
	values []Value
	slots  []*slot // the signature to wait for of each value; nil if its bytes are known
	next   int     // index of the stage that decides next; noStage if no stage decides
	reason string  // of the first stage that leaves its xattr as it is
	key    *ima.PublicKey
	// err is the error of a stage after the first. It is not stored in the visit, because
	// visits of other names of the inode may be reading that.
	err error
}

const noStage = math.MaxInt

// planner makes a plan. A round digests the entries and asks the first stage about them,
// and those of the other stages that need not wait for a signature. For each further
// stage, one goroutine waits for the signatures that the stage needs. A last goroutine
// spools the records in order.
type planner struct {
	engine *Engine
	plan   *Plan
	client *client
	failed atomic.Bool // sign no more; only digest the remaining entries, to find their errors

	evm, maybe int64 // numbers of files to warn about
}

func (e *Engine) newPlanner() *planner {
	first := &e.stages[0]
	return &planner{engine: e, plan: &Plan{hash: first.Hash, public: first.key().Public, sorted: true, spool: spool{dir: e.spool}}}
}

func checkStated(e *Entry) error {
	for _, d := range e.Digests {
		if len(d.Sum) != d.Hash.Size() {
			return fmt.Errorf("%s: %w: %d bytes are stated, %s has %d", e.Path, ima.ErrDigestSize, len(d.Sum), d.Hash, d.Hash.Size())
		}
	}
	return nil
}

// run makes the plan of src's entries.
func (p *planner) run(ctx context.Context, src Source, r round[decision]) (*Plan, error) {
	var failures Errors
	g, gctx := errgroup.WithContext(ctx)
	p.client = &client{ctx: gctx}
	r.jobs, r.observe, r.targets = p.engine.jobs, p.engine.observe, true
	stages := make([]chan *visit[decision], len(p.engine.stages))
	for i := range stages {
		stages[i] = make(chan *visit[decision], batchSize)
	}
	r.failed = func() { p.failed.Store(true) }
	r.take = func(v *visit[decision]) error { return send(gctx, stages[0], v) }
	g.Go(func() error {
		defer close(stages[0])
		return r.run(gctx, src)
	})
	for i := 1; i < len(stages); i++ {
		g.Go(func() error {
			defer close(stages[i])
			return p.settle(gctx, stages[i-1], func(v *visit[decision]) error {
				if v.err == nil && v.Reason == "" && v.leader == nil && v.result != nil && v.result.err == nil {
					v.result.err = p.advance(v)
				}
				return send(gctx, stages[i], v)
			})
		})
	}
	g.Go(func() error {
		err := p.settle(gctx, stages[len(stages)-1], func(v *visit[decision]) error { return p.write(v, &failures) })
		if err == nil {
			p.warn()
		}
		return err
	})
	return p.end(ctx, g.Wait(), &failures)
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end returns the plan, or the error that prevents it.
func (p *planner) end(ctx context.Context, err error, failures *Errors) (*Plan, error) {
	for _, q := range p.engine.queues() {
		q.leave(p.client, cmp.Or(err, context.Canceled))
	}
	p.client.batches.Wait() // when end returns, no signer works for this plan any more
	switch {
	case err == nil:
		err = failures.err()
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default: // also report the files that failed before
		err = errors.Join(err, failures.err())
	}
	if err != nil {
		_ = p.plan.Close()
		return nil, err
	}
	return p.plan, nil
}

// advance asks the stages about the entry. It stops before a stage that needs a signature
// that is not there yet.
func (p *planner) advance(v *visit[decision]) error {
	d := v.result
	for d.next < len(p.engine.stages) && (len(d.slots) == 0 || d.slots[len(d.slots)-1] == nil) {
		s := &p.engine.stages[d.next]
		d.next++
		if s.Digest != nil && lacking(d.values) {
			if err := d.planOnly(s, &v.Entry, p.engine.force); err != nil {
				p.failed.Store(true)
				return err
			}
			continue
		}
		value, c, reason, err := s.judge(&v.Entry, d.values, p.engine.force)
		if err != nil {
			p.failed.Store(true)
			return err
		}
		if value.Status == Skipped {
			if d.reason = cmp.Or(d.reason, reason); reason != "" {
				d.next = len(p.engine.stages) // the entry keeps its values
			}
			continue
		}
		d.values, d.slots = append(d.values, value), append(d.slots, nil)
		if value.Status == Signed && s.queue != nil && !p.failed.Load() {
			d.slots[len(d.slots)-1] = s.queue.add(p.client, claimOf(&v.Entry, c.form, d.values), c.form, c.hash, c.digest)
		}
	}
	return nil
}

// settle waits for the signatures of the entries that it receives, and passes the entries
// to next in order. To keep batches large, it waits only if all entries have arrived, or
// if enough are pending to keep every signing goroutine busy.
func (p *planner) settle(ctx context.Context, in <-chan *visit[decision], next func(*visit[decision]) error) error {
	limit := 8 * batchSize
	for _, q := range p.engine.queues() {
		limit = max(limit, q.ahead())
	}
	var coming []*visit[decision]
	for open := true; open || len(coming) > 0; {
		if open && len(coming) < limit {
			select {
			case v, more := <-in:
				if open = more; more {
					coming = append(coming, v)
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		for len(coming) > 0 && (!open || len(coming) == limit || coming[0].leader != nil || coming[0].result.ready()) {
			if err := p.complete(coming[0]); err != nil {
				return err
			}
			if err := next(coming[0]); err != nil {
				return err
			}
			coming[0], coming = nil, coming[1:]
		}
	}
	return nil
}

// ready reports whether all signatures are there.
func (d *decided) ready() bool {
	if d == nil {
		return true
	}
	for _, s := range d.slots {
		if s != nil && !s.ready() {
			return false
		}
	}
	return true
}

// complete waits for the entry's signatures and stores them in its values.
func (p *planner) complete(v *visit[decision]) error {
	d := v.result
	if d == nil || v.err != nil || d.err != nil || v.leader != nil {
		return nil //nolint:nilerr // write collects the entry's error
	}
	for i, s := range d.slots {
		if s == nil {
			continue
		}
		signed, err := p.engine.stage(d.values[i].Form.Xattr).queue.wait(p.client, s)
		if err != nil {
			return err
		}
		d.values[i].Bytes, d.values[i].cached, d.slots[i] = signed.value, signed.cached, nil
	}
	return nil
}

// failure returns the error that prevents a record of the entry, or nil.
func (p *planner) failure(v *visit[decision]) error {
	d := v.result
	switch {
	case v.err != nil:
		return v.err
	case d == nil || v.Reason != "":
		return nil
	case d.err == nil && v.leader != nil && d.next != noStage:
		return p.engine.second(v, (*stage).compare)
	}
	return d.err
}

// write spools a record. Only write counts, collects errors and tells the observer of
// entries.
func (p *planner) write(v *visit[decision], failures *Errors) error {
	if err := p.failure(v); err != nil {
		if v.leader == nil || v.result == nil || v.result.err != err { //nolint:errorlint // this very error was reported with the leader
			failures.add(err)
		}
		return nil
	}
	r := Record{Entry: v.Entry}
	if d := v.result; d != nil && v.Reason == "" {
		if r.Values = d.values; len(d.values) == 0 {
			r.Reason = d.reason
		}
	}
	if r.Pending() && !p.plan.strips {
		if _, covered := r.Xattrs[ima.XattrEVM]; covered && p.engine.stage(ima.XattrEVM) == nil {
			p.evm++
		}
		if r.replaced(maybeOurs) {
			p.maybe++
		}
	}
	if err := p.plan.add(&r, v.bytes); err != nil {
		return err
	}
	p.engine.observe.Tell(Event{Kind: Planned, Path: v.Path, Entries: 1, Bytes: v.bytes})
	return nil
}

func (p *planner) warn() {
	if p.evm > 0 {
		p.engine.observe.Warn("", fmt.Sprintf("%d files have a security.evm that covers their old security.ima: a kernel with EVM refuses them until they get a new security.evm", p.evm))
	}
	if p.maybe > 0 {
		p.engine.observe.Warn("", fmt.Sprintf("%d files have a signature with this key's id that is not valid for their content or metadata, and get a new one: either the files have changed, or another key has the same id (an ECDSA or ML-DSA signature does not tell which)", p.maybe))
	}
}
