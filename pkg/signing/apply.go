package signing

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Apply returns the plan of attaching the values of a manifest (Trust.Index) instead of
// signing. The caller closes the plan.
//
// Every file must still have the digest that the manifest states, and every signature
// must be valid for that digest and by a key of Trust.Ring. Otherwise Apply fails with
// [ErrMismatch] or an error of package ima. If the container states digests, these are
// compared and the content is not read.
//
// If a path repeats (tar), the n-th entry of the path gets the values of the n-th line of
// that path. In a manifest of digests ([manifest.Digests]) entries are looked up by the
// digest that the container states, and each must be found.
func (e *Engine) Apply(ctx context.Context, src Source, t Trust) (*Plan, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	a := &applier{Trust: t, explainer: explainer{trust: &t}, engine: e, seen: map[string]pathCount{}}
	plan, err := e.newPlanner().run(ctx, src, round[decision]{admit: a.admit, work: a.work, linked: a.linked})
	if err != nil {
		return nil, err
	}
	if err := a.missing(); err != nil {
		_ = plan.Close()
		return nil, err
	}
	return plan, nil
}

// applier takes values from a manifest.
type applier struct {
	Trust
	explainer

	engine *Engine
	seen   map[string]pathCount
}

// pathCount counts the entries of a path.
type pathCount struct {
	listed int
	taken  int // those that get a value
}

// admit gives a Reason to an entry that has no value in the manifest.
func (a *applier) admit(v *visit[decision]) {
	if a.byDigest() {
		if v.Reason == "" && !a.Index.Attaches(a.place(v)) {
			v.err = fmt.Errorf("%s: %w: the manifest has no value for its digest", v.Path, ErrMismatch)
		}
		return
	}
	n := a.seen[v.Path]
	v.nth = n.listed
	n.listed++
	switch {
	case v.Reason != "":
	case a.Index.Attaches(v.Path, v.nth):
		n.taken++
	default:
		v.Reason = "no value in the manifest"
	}
	a.seen[v.Path] = n
}

func (a *applier) byDigest() bool { return a.Index.Header.Container == manifest.Digests }

// place returns the path in the manifest, and the number among the lines of that path, of
// the entry's line.
func (a *applier) place(v *visit[decision]) (path string, n int) {
	if a.byDigest() {
		d := v.first()
		return manifest.DigestPath(d.Hash, d.Sum), 0
	}
	return v.Path, v.nth
}

func (a *applier) work(ctx context.Context, d *digester, v *visit[decision]) {
	v.result = &decided{next: noStage}
	line, err := a.line(v)
	if v.err = err; err != nil {
		return
	}
	v.Verity = line.Verity
	if len(v.Digests) == 0 {
		if v.bytes, v.err = d.digest(ctx, &v.Entry, []ima.HashID{line.Hash}); v.err != nil || v.Reason != "" {
			return
		}
	}
	if v.err = matches(&v.Entry, &line); v.err != nil {
		return
	}
	for i := range a.engine.stages {
		s := &a.engine.stages[i]
		if value, there := line.Xattrs[s.Xattr]; there {
			if v.err = a.decide(v, s, value); v.err != nil {
				return
			}
		}
	}
}

// line returns the manifest's line of an entry. The line has a value for the entry.
func (a *applier) line(v *visit[decision]) (manifest.Line, error) {
	line, _, err := a.Index.Find(a.place(v))
	if err != nil {
		return line, err
	}
	if len(line.Digest) == 0 {
		return line, fmt.Errorf("%s: %w: the manifest states no digest", v.Path, ErrMismatch)
	}
	for name := range line.Xattrs {
		if a.engine.stage(name) == nil {
			return line, fmt.Errorf("%s: %w: %s", v.Path, ErrNoStage, name)
		}
	}
	return line, nil
}

// matches compares the entry's digest with the one in the manifest.
func matches(e *Entry, line *manifest.Line) error {
	want := statedDigest(line)
	digest := e.digest(line.Hash, want.over())
	switch {
	case digest == nil:
		return fmt.Errorf("%s: %w: %w", e.Path, ErrMismatch, otherDigest(e, line))
	case !bytes.Equal(digest, line.Digest):
		return fmt.Errorf("%s: %w: its content has changed since the manifest was made", e.Path, ErrMismatch)
	}
	return nil
}

// linked checks that the manifest states for a further name of a hard link the values
// that its inode gets. The name may have been another file when the manifest was made.
func (a *applier) linked(v *visit[decision]) {
	line, err := a.line(v)
	if err == nil {
		err = matches(&v.Entry, &line)
	}
	if err == nil && v.result != nil {
		for _, value := range v.result.values {
			if !bytes.Equal(value.Bytes, line.Xattrs[value.Form.Xattr]) {
				err = fmt.Errorf("%s: %w: it is now a hard link of %s, for which the manifest states another value", v.Path, ErrMismatch, v.Same)
			}
		}
	}
	if err == nil {
		err = a.engine.second(v, func(_ *stage, old []byte, c *candidate) prior { return a.compare(old, c, v.result.key) })
	}
	v.err = err
}

// decide verifies a value of the manifest, and decides whether it replaces the value that
// the entry has.
func (a *applier) decide(v *visit[decision], s *stage, value []byte) error {
	c, key, err := a.check(v, s, value)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", v.Path, ErrMismatch, s.named(err))
	}
	if s.Xattr == ima.XattrIMA {
		v.HashOnly, v.result.key = !c.form.Signs(), key
	}
	out := Value{Form: c.form, Bytes: value}
	old := v.Xattrs[s.Xattr]
	if bytes.Equal(old, value) {
		out.Status = Unchanged
		v.result.values = append(v.result.values, out)
		return nil
	}
	was := a.compare(old, &c, key)
	if second := v.Second[s.Xattr]; len(second) > 0 && was.refusal == nil {
		was.refusal = a.compare(second, &c, key).refusal
	}
	if was.refusal != nil && !a.engine.force {
		return refuse(v.Path, was.refusal)
	}
	if out.replaced = was.replaced; was.refusal != nil {
		out.replaced = notOurs
	}
	if out.Status = Signed; !c.form.Signs() {
		out.Status = Hashed
	}
	v.result.values = append(v.result.values, out)
	return nil
}

// check verifies a value of the manifest. It returns the key that made the value, or nil
// for a digest.
func (a *applier) check(v *visit[decision], s *stage, value []byte) (c candidate, key *ima.PublicKey, err error) {
	parsed, err := ima.Parse(value)
	if err != nil {
		return c, nil, err
	}
	c.form, c.signed = parsed.Form(s.Xattr), accepted(s.signed(&v.Entry, v.result.values), &parsed)
	c.hash, c.was = parsed.Hash, s.was(&v.Entry)
	if c.digest, err = s.over(c.signed, c.hash, &v.Entry, v.result.values); err != nil {
		return c, nil, err
	}
	switch {
	case c.digest == nil:
		return c, nil, fmt.Errorf("the value is over %s, but the stated digest is %s", parsed.Hash, v.first().Hash)
	case c.signed.Over == ima.Content && parsed.Type == ima.TypeDigestNG && bytes.Equal(parsed.Digest, c.digest):
		return c, nil, nil
	}
	key, err = a.signature(&v.Entry, value, ima.Statement{Form: c.signed, Hash: c.hash, Digest: c.digest})
	return c, key, assumed(&v.Entry, c.signed, a.explain(s, value, &v.Entry, v.result.values, err))
}

// compare is stage.compare for a new value that key made elsewhere. If the old signature
// is valid by another key of the same id, only Force replaces it.
func (a *applier) compare(old []byte, c *candidate, key *ima.PublicKey) prior {
	switch {
	case len(old) == 0:
		return prior{}
	case c.signed.Xattr == ima.XattrIMA && isDigest(old):
		return c.compareDigest(old)
	}
	v, err := ima.Parse(old)
	if err != nil {
		return c.unreadable(old, err)
	}
	if key == nil && v.IsSignature() { // a digest does not replace a signature
		return prior{refusal: fmt.Errorf("%w (%s)", ErrOtherKey, v)}
	}
	if err := c.ownForm(&v, key); err != nil {
		return prior{refusal: err}
	}
	if by, err := a.ring(c.signed.Xattr).Verify(old, c.stated(&v)); err == nil && by != key && !key.Equal(by) {
		return prior{refusal: fmt.Errorf("%w, of the same key id (%s)", ErrOtherKey, v)}
	}
	return c.madeBy(key, &v)
}

// missing returns an error for each path that has more values in the manifest than
// entries in the container.
func (a *applier) missing() error {
	if a.byDigest() {
		return nil // the manifest may have digests of other containers too
	}
	var errs Errors
	for _, path := range a.Index.Paths() {
		want := 0
		for n := range a.Index.Count(path) {
			if a.Index.Attaches(path, n) {
				want++
			}
		}
		if a.seen[path].taken < want {
			errs.add(fmt.Errorf("%s: %w: there is no such regular file", path, ErrMismatch))
		}
	}
	return errs.err()
}
