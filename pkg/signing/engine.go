package signing

import (
	"context"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Engine digests, signs and verifies entries. It is safe for concurrent use. Containers
// that are signed with one Engine share batches, and what was signed already or is about
// to be; a plan that fails or is cancelled fails no other.
type Engine struct {
	stages  []stage
	jobs    int
	force   bool
	spool   string
	observe Observer
}

// Options of New. The zero value digests with SHA-256 on every core and signs nothing,
// which is enough for Verify, Apply and a dry run.
type Options struct {
	// Stages decide about the xattrs of each entry; none stands for
	// ContentStage(nil, 0).
	Stages []Stage
	// Jobs is how many files are digested at a time; zero stands for one a core.
	Jobs int
	// Force lets values be replaced that are, or may be, somebody else's
	// (ErrOtherKey, ErrNotOurs).
	Force bool
	// SpoolDir is where large plans are spooled; "" stands for os.TempDir.
	SpoolDir string
	Observe  Observer
}

// New checks the options and returns an Engine. It refuses a Signer without its Public
// key, a hash that cannot be computed or is not signed with (ima.ErrUnsupportedHash,
// ima.ErrSHA1), and a rotation (Key.From) to the same key or with Force.
func New(o Options) (*Engine, error) {
	if len(o.Stages) == 0 {
		o.Stages = []Stage{ContentStage(nil, 0)}
	}
	e := &Engine{jobs: o.Jobs, force: o.Force, spool: o.SpoolDir, observe: o.Observe}
	queues := map[*Key]*queue{}
	for _, given := range o.Stages {
		s := stage{Stage: given}
		if err := s.check(o.Force); err != nil {
			return nil, err
		}
		if key := s.key(); key.Signer != nil {
			if queues[key] == nil {
				queues[key] = newQueue(key)
			}
			s.queue = queues[key]
		}
		e.stages = append(e.stages, s)
	}
	return e, nil
}

// stage returns the stage of an xattr, nil for one that the Engine does not decide about.
func (e *Engine) stage(xattr string) *stage {
	for i := range e.stages {
		if e.stages[i].Xattr == xattr {
			return &e.stages[i]
		}
	}
	return nil
}

// queues returns those of the stages' keys.
func (e *Engine) queues() (list []*queue) {
	for i := range e.stages {
		if q := e.stages[i].queue; q != nil && !slices.Contains(list, q) {
			list = append(list, q)
		}
	}
	return list
}

// Plan digests src's entries, signs what needs a signature and returns the plan, which
// the caller closes. Failures of single files are collected (Errors) and then fail the
// whole plan: signatures for a part of a container help nobody. They wrap ErrOtherKey or
// ErrNotOurs where a value is not replaced, else what the Source or the Signer returned;
// ErrSpool is the plan's own.
func (e *Engine) Plan(ctx context.Context, src Source) (*Plan, error) {
	p := e.newPlanner()
	hashes := e.hashes()
	return p.run(ctx, src, round[decision]{
		work: func(ctx context.Context, d *digester, v *visit[decision]) {
			v.result = &decided{}
			if len(v.Digests) > 0 {
				v.err = checkStated(&v.Entry)
			} else {
				v.bytes, v.err = d.digest(ctx, &v.Entry, hashes)
			}
			if v.err == nil && v.Reason == "" {
				v.err = p.advance(v)
			}
		},
	})
}

// Strip returns the plan of removing the xattrs that the Engine decides about, and
// security.evm, whose signature would cover a security.ima that is gone. Whose signatures
// they are is not asked. The caller closes the plan.
func (e *Engine) Strip(ctx context.Context, src Source) (*Plan, error) {
	var xattrs []string
	for i := range e.stages {
		xattrs = append(xattrs, e.stages[i].Xattr)
	}
	if !slices.Contains(xattrs, ima.XattrEVM) {
		xattrs = append(xattrs, ima.XattrEVM)
	}
	p := e.newPlanner()
	p.plan.strips = true
	return p.run(ctx, src, round[decision]{work: func(ctx context.Context, _ *digester, v *visit[decision]) {
		v.result, v.err = strip(ctx, &v.Entry, xattrs)
	}})
}

func strip(ctx context.Context, e *Entry, xattrs []string) (decision, error) {
	d := &decided{next: noStage}
	if len(e.Digests) == 0 { // only the open file tells its xattrs
		f, err := e.open(ctx)
		if f != nil {
			err = f.Close()
		}
		if err != nil || e.Reason != "" {
			return d, err
		}
	}
	for _, name := range xattrs {
		if _, there := e.Xattrs[name]; there {
			d.values = append(d.values, Value{Form: ima.Form{Xattr: name}, Status: Stripped})
		}
	}
	if len(d.values) == 0 {
		e.Reason = "nothing to strip"
	}
	return d, nil
}
