package signing

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Apply plans to attach what a manifest states instead of signing. Every file
// must still have the digest that the manifest states, and every signature must
// be valid for it by a key of ring; anything else fails the plan (ErrMismatch).
func (e *Engine) Apply(ctx context.Context, src Source, index *manifest.Index, ring *ima.Keyring) (*Plan, error) {
	a := &applier{engine: e, src: src, index: index, ring: ring, met: map[string]bool{}}
	plan, err := e.plan(ctx, a, a.work)
	if err != nil {
		return nil, err
	}
	plan.signed = true
	if err := a.missing(); err != nil {
		_ = plan.Close()
		return nil, err
	}
	return plan, nil
}

// applier is the Source of what a manifest has values for, and the worker that
// takes them from there.
type applier struct {
	engine *Engine
	src    Source
	index  *manifest.Index
	ring   *ima.Keyring
	met    map[string]bool
}

func (a *applier) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		groups := map[string]string{}
		for e, err := range a.src.Entries(ctx) {
			if err == nil && e.Reason == "" {
				a.admit(&e, groups)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// admit leaves an entry without a value in the manifest alone. A hard-link group
// is regrouped around the first of its names that has one.
func (a *applier) admit(e *Entry, groups map[string]string) {
	if !a.index.Attaches(e.Path) {
		e.Reason, e.Same = "no value in the manifest", ""
		return
	}
	a.met[e.Path] = true
	if e.Same == "" {
		return
	}
	if groups[e.Same] == "" {
		groups[e.Same] = e.Path
	}
	e.Same = groups[e.Same]
}

func (a *applier) work(ctx context.Context, d *digester, j *job) {
	line, _, err := a.index.Find(j.Path)
	if j.err = err; err != nil {
		return
	}
	if j.Hash = line.Hash; len(line.Digest) == 0 {
		j.err = fmt.Errorf("%s: %w: it states no digest", j.Path, ErrMismatch)
		return
	}
	if j.err = j.digest(ctx, d); j.err != nil || j.Reason != "" {
		return
	}
	if !bytes.Equal(j.Digest, line.Digest) {
		j.err = fmt.Errorf("%s: %w: its content has changed since the manifest was made", j.Path, ErrMismatch)
		return
	}
	value := line.Xattrs[ima.XattrIMA]
	if j.err = a.check(j, value); j.err == nil {
		j.err = a.judge(j, value)
	}
}

// check holds that value is valid for the digest: nothing is attached that was
// not verified.
func (a *applier) check(j *job, value []byte) error {
	v, err := ima.Parse(value)
	switch {
	case err != nil:
	case v.Hash != j.Hash:
		err = fmt.Errorf("the value is over %s, the digest stated is %s", v.Hash, j.Hash)
	case v.Type == ima.TypeDigestNG && bytes.Equal(v.Digest, j.Digest):
		j.HashOnly = true
	default:
		err = a.ring.Verify(value, j.Digest)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", j.Path, ErrMismatch, err)
	}
	return nil
}

func (a *applier) judge(j *job, value []byte) error {
	old := j.Xattrs[ima.XattrIMA]
	if bytes.Equal(old, value) {
		j.decide(Unchanged, ima.XattrIMA, value)
		return nil
	}
	now, err := ima.Parse(value)
	if err != nil {
		return err
	}
	if was, err := ima.Parse(old); err == nil && was.IsSignature() && was.KeyID != now.KeyID && !a.engine.force {
		return otherKey(j.Path, was)
	}
	status := Signed
	if j.HashOnly {
		status = Hashed
	}
	j.decide(status, ima.XattrIMA, value)
	return nil
}

// missing names what the manifest has values for and the container does not have.
func (a *applier) missing() error {
	var errs Errors
	for _, path := range a.index.Paths() {
		if a.index.Attaches(path) && !a.met[path] {
			errs.add(fmt.Errorf("%s: %w: there is no such regular file", path, ErrMismatch))
		}
	}
	return errs.err()
}
