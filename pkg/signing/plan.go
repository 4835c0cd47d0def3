package signing

import (
	"iter"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Plan states what happens to each entry of a container, in the container's order. It is
// stored in memory or in a temporary file. Close releases that.
type Plan struct {
	hash    ima.HashID // of all digests; zero if they differ
	public  *ima.PublicKey
	lacking bool // signatures are missing because there is no key
	strips  bool
	counts  Counts
	entries int64
	xattrs  []string // sorted names of those that change
	spool   spool
	sorted  bool
	last    string

	digested bool // hash comes from a record's digest, not from the stage
}

// Counts are the numbers of a plan's records. Every record is counted once.
type Counts struct {
	Signed, Hashed, Unchanged, Skipped, Stripped int64
	Links                                        int64 // further names of inodes that are counted above
	Bytes                                        int64 // bytes of content digested

	// Cached is the part of Signed whose signatures all came from a cache or from the
	// manifest of an earlier run.
	Cached int64

	// OtherVersion, Rehashed and Forced are parts of Signed and Hashed. OtherVersion counts
	// values that replace a signature by the same key of another version. Rehashed counts
	// values that replace a digest, or a signature by the same key, over another hash. Forced
	// counts values that replace one that only Options.Force replaces.
	OtherVersion, Rehashed, Forced int64
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
		if r.cached() {
			c.Cached++
		}
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
	case r.replaced(otherVersion):
		c.OtherVersion++
	case r.replaced(otherHash):
		c.Rehashed++
	}
}

// Add adds the numbers of o to c.
func (c *Counts) Add(o Counts) {
	c.Signed += o.Signed
	c.Hashed += o.Hashed
	c.Unchanged += o.Unchanged
	c.Skipped += o.Skipped
	c.Stripped += o.Stripped
	c.Links += o.Links
	c.Bytes += o.Bytes
	c.Cached += o.Cached
	c.OtherVersion += o.OtherVersion
	c.Rehashed += o.Rehashed
	c.Forced += o.Forced
}

// Pending returns the number of records that attaching changes.
func (c Counts) Pending() int64 { return c.Signed + c.Hashed + c.Stripped }

// Records yields the records in the container's order. It may be called several times.
func (p *Plan) Records() iter.Seq2[Record, error] { return p.spool.all() }

// Counts returns the numbers of the plan's records.
func (p *Plan) Counts() Counts { return p.counts }

// Xattrs returns the sorted names of the xattrs that attaching changes.
func (p *Plan) Xattrs() []string { return slices.Clone(p.xattrs) }

// Strips reports whether the plan removes values ([Engine.Strip]).
func (p *Plan) Strips() bool { return p.strips }

// Attachable returns [ErrUnsignedPlan] if the plan has signatures without bytes, as in a
// dry run without a key, and nil otherwise.
func (p *Plan) Attachable() error {
	if p.lacking {
		return ErrUnsignedPlan
	}
	return nil
}

// Close releases the plan's temporary file.
func (p *Plan) Close() error { return p.spool.close() }

func (p *Plan) add(r *Record, bytes int64) error {
	p.entries++
	p.counts.add(r, bytes)
	p.sorted = p.sorted && p.last <= r.Path
	p.last = r.Path
	p.note(r)
	for i := range r.Values {
		if v := &r.Values[i]; v.Status.changes() {
			if at, known := slices.BinarySearch(p.xattrs, v.Form.Xattr); !known {
				p.xattrs = slices.Insert(p.xattrs, at, v.Form.Xattr)
			}
		}
	}
	p.lacking = p.lacking || lacking(r.Values)
	return p.spool.add(r)
}

// note sets p.hash to the hash that all digests have in common. A container that states
// its digests may use another hash than the stage.
func (p *Plan) note(r *Record) {
	switch {
	case len(r.Digests) == 0:
	case !p.digested:
		p.hash, p.digested = r.first().Hash, true
	case p.hash != r.first().Hash:
		p.hash = 0
	}
}
