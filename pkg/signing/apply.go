package signing

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Apply plans to attach what a manifest (Trust.Index) states instead of signing. Every
// file must still have the digest that the manifest states, and every signature must be
// valid for it by a key of Trust.Ring; anything else fails the plan (ErrMismatch, or an
// error of package ima). A digest that the container states is compared as it is.
//
// Where a path repeats (tar), the n-th entry of a path gets what the n-th line of
// that path says. In a manifest of digests (manifest.Digests) entries are looked
// up by the digest that the container states, and every one must be there.
func (e *Engine) Apply(ctx context.Context, src Source, t Trust) (*Plan, error) {
	a := &applier{Trust: t, engine: e, met: map[string]met{}}
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

	engine *Engine
	met    map[string]met
}

// met counts the entries of a path.
type met struct {
	listed int
	taken  int // that get a value
}

// admit leaves an entry without a value in the manifest alone.
func (a *applier) admit(v *visit[decision]) {
	if a.byDigest() {
		if v.Reason == "" && !a.Index.Attaches(a.place(v)) {
			v.err = fmt.Errorf("%s: %w: it has no value for its digest", v.Path, ErrMismatch)
		}
		return
	}
	m := a.met[v.Path]
	v.nth = m.listed
	m.listed++
	switch {
	case v.Reason != "":
	case a.Index.Attaches(v.Path, v.nth):
		m.taken++
	default:
		v.Reason = "no value in the manifest"
	}
	a.met[v.Path] = m
}

func (a *applier) byDigest() bool { return a.Index.Header.Container == manifest.Digests }

// place is where the entry's line is in the manifest.
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

// line returns the manifest's line of an entry that it has a value for.
func (a *applier) line(v *visit[decision]) (manifest.Line, error) {
	line, _, err := a.Index.Find(a.place(v))
	if err != nil {
		return line, err
	}
	if len(line.Digest) == 0 {
		return line, fmt.Errorf("%s: %w: it states no digest", v.Path, ErrMismatch)
	}
	for name := range line.Xattrs {
		if a.engine.stage(name) == nil {
			return line, fmt.Errorf("%s: %w: it states a value of %s, and only %s can be attached", v.Path, ErrMismatch, name, ima.XattrIMA)
		}
	}
	return line, nil
}

// matches compares the entry's digest with the one in the manifest.
func matches(e *Entry, line *manifest.Line) error {
	digest := e.digest(line.Hash)
	switch {
	case digest == nil:
		return fmt.Errorf("%s: %w: it has a %s digest, the manifest states one of %s", e.Path, ErrMismatch, e.first().Hash, line.Hash)
	case !bytes.Equal(digest, line.Digest):
		return fmt.Errorf("%s: %w: its content has changed since the manifest was made", e.Path, ErrMismatch)
	}
	return nil
}

// linked checks that the other names of a hard link are to get what their inode gets:
// they may have been files of their own when the manifest was made.
func (a *applier) linked(v *visit[decision]) {
	line, err := a.line(v)
	if err == nil {
		err = matches(&v.Entry, &line)
	}
	if err == nil && v.result != nil {
		for _, value := range v.result.values {
			if !bytes.Equal(value.Bytes, line.Xattrs[value.Form.Xattr]) {
				err = fmt.Errorf("%s: %w: it is a hard link of %s now, for which the manifest states another value", v.Path, ErrMismatch, v.Same)
			}
		}
	}
	if err == nil {
		err = a.engine.second(v, func(_ *stage, old []byte, c *candidate) prior { return a.compare(old, c, v.result.key) })
	}
	v.err = err
}

// decide decides whether a value of the manifest takes the place of what is there, after
// it was verified: nothing is attached that was not.
func (a *applier) decide(v *visit[decision], s *stage, value []byte) error {
	c, key, err := a.check(v, s, value)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", v.Path, ErrMismatch, err)
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
	if s.Xattr == ima.XattrIMA && len(v.Second) > 0 && was.refusal == nil {
		was.refusal = a.compare(v.Second, &c, key).refusal
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

// check verifies a value of the manifest. It returns the key that made it, nil for a
// digest.
func (a *applier) check(v *visit[decision], s *stage, value []byte) (c candidate, key *ima.PublicKey, err error) {
	parsed, err := ima.Parse(value)
	if err != nil {
		return c, nil, err
	}
	c.form, c.signed = parsed.Form(s.Xattr), s.signed(&v.Entry)
	c.hash = parsed.Hash
	if c.digest, err = s.over(c.signed, c.hash, &v.Entry, v.result.values); err != nil {
		return c, nil, err
	}
	switch {
	case c.digest == nil:
		return c, nil, fmt.Errorf("the value is over %s, the digest stated is %s", parsed.Hash, v.first().Hash)
	case parsed.Type == ima.TypeDigestNG && bytes.Equal(parsed.Digest, c.digest):
		return c, nil, nil
	}
	key, err = a.Ring.Verify(value, ima.Statement{Form: c.signed, Hash: c.hash, Digest: c.digest})
	return c, key, err
}

// compare is stage.compare for a value that was made elsewhere, by key. A key of the
// same id whose signature holds is not the one that made the new value.
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
	if key == nil && v.IsSignature() { // a digest takes no signature's place
		return prior{refusal: fmt.Errorf("%w (%s)", ErrOtherKey, v)}
	}
	if err := c.ownForm(&v, key); err != nil {
		return prior{refusal: err}
	}
	if by, err := a.Ring.Verify(old, ima.Statement{Form: c.signed, Hash: c.hash, Digest: c.digest}); err == nil {
		if by != key && !key.Equal(by) {
			return prior{refusal: fmt.Errorf("%w, of the same key id (%s)", ErrOtherKey, v)}
		}
		return prior{replaced: stale} // another signature of the same content
	}
	return madeBy(key, &v, c.hash)
}

// missing names what the manifest has values for and the container does not have.
func (a *applier) missing() error {
	if a.byDigest() {
		return nil // it may be of other containers as well
	}
	var errs Errors
	for _, path := range a.Index.Paths() {
		want := 0
		for n := range a.Index.Count(path) {
			if a.Index.Attaches(path, n) {
				want++
			}
		}
		if a.met[path].taken < want {
			errs.add(fmt.Errorf("%s: %w: there is no such regular file", path, ErrMismatch))
		}
	}
	return errs.err()
}
