package signing

import (
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Plan is what shall become of a container's entries, in the container's order.
// It lies in a spool; Close releases it.
type Plan struct {
	hash    ima.HashID // of every digest; zero where they differ
	public  *ima.PublicKey
	lacking bool // signatures, for want of a key
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
	status := r.Status()
	switch {
	case status == Skipped:
		c.Skipped++
		return
	case !r.leads():
		c.Links++
		return
	case status == Signed:
		c.Signed++
	case status == Hashed:
		c.Hashed++
	case status == Unchanged:
		c.Unchanged++
	case status == Stripped:
		c.Stripped++
	}
	switch {
	case r.replaced(notOurs):
		c.Forced++
	case r.replaced(otherHash):
		c.Rehashed++
	}
}

// Add adds what o counted.
func (c *Counts) Add(o Counts) {
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
	if p.lacking {
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
	p.lacking = p.lacking || lacking(r.Values)
	return p.spool.add(r)
}

// note keeps which hash the digests have in common; a container that states its
// digests chooses it.
func (p *Plan) note(r *Record) {
	switch {
	case len(r.Digests) == 0:
	case !p.digested:
		p.hash, p.digested = r.first().Hash, true
	case p.hash != r.first().Hash:
		p.hash = 0
	}
}
