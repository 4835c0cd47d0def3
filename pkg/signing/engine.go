package signing

import (
	"context"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Engine digests, signs and verifies entries. It is safe for concurrent use. Plans of one
// Engine share batches and signatures: a digest that one plan has signed is not signed
// again for another plan. A plan that fails or is cancelled does not affect other plans.
type Engine struct {
	stages  []stage
	jobs    int
	force   bool
	spool   string
	observe Observer
	archive *archive // of manifests; nil for none
}

// Options are the options of [New]. The zero value digests with SHA-256 on every core and
// signs nothing. That is enough for Verify, Apply, Strip and a dry run.
type Options struct {
	// Stages decide about the xattrs of each entry. If empty, there is one:
	// ContentStage(nil, 0).
	Stages []Stage
	// Jobs is the number of files that are digested at the same time. Zero means one per
	// core.
	Jobs int
	// Force replaces values even if another key made them or may have made them. Without
	// it they are errors (ErrOtherKey, ErrNotOurs).
	Force bool
	// SpoolDir is the directory in which large plans are spooled. "" means os.TempDir.
	SpoolDir string
	// Observe receives events. The zero value ignores them.
	Observe Observer
}

// New checks the options and returns an Engine. It returns an error for a Signer without
// its Public key, for a hash that cannot be computed ([ima.ErrUnsupportedHash]) or is too
// weak to sign with ([ima.ErrSHA1]), and for a rotation (Key.From) to the same key or with
// Force.
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
				queues[key] = newQueue(key, o.Jobs, o.Observe)
			}
			s.queue = queues[key]
		}
		e.stages = append(e.stages, s)
	}
	return e, nil
}

// stage returns the stage of an xattr, or nil if there is none.
func (e *Engine) stage(xattr string) *stage {
	for i := range e.stages {
		if e.stages[i].Xattr == xattr {
			return &e.stages[i]
		}
	}
	return nil
}

// queues returns the queues of the stages' keys, each once.
func (e *Engine) queues() (list []*queue) {
	for i := range e.stages {
		if q := e.stages[i].queue; q != nil && !slices.Contains(list, q) {
			list = append(list, q)
		}
	}
	return list
}

// Plan digests src's entries, signs those that need a signature, and returns the plan. The
// caller closes it.
//
// If single files fail, Plan continues to find further errors, makes no plan, and returns
// all errors ([Errors]). They wrap [ErrOtherKey] or [ErrNotOurs] for a value that must not
// be replaced, or are errors of the Source. Errors of the Signer, and [ErrSpool], end
// planning at once.
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

// Strip returns the plan of removing the xattrs of the Engine's stages, and security.evm,
// because its signature would cover a security.ima that is gone. Values are removed
// whichever key made them. The caller closes the plan.
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
	if len(e.Digests) == 0 { // only the open file has complete xattrs
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
