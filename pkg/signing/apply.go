package signing

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Apply plans to attach what a manifest states instead of signing. Every file
// must still have the digest that the manifest states, and every signature must
// be valid for it by a key of ring; anything else fails the plan (ErrMismatch). A
// digest that the container states is compared as it is.
//
// Where a path repeats (tar), the n-th entry of a path gets what the n-th line of
// that path says. In a manifest of digests (manifest.Digests) entries are looked
// up by the digest that the container states, and every one must be there.
func (e *Engine) Apply(ctx context.Context, src Source, index *manifest.Index, ring *ima.Keyring) (*Plan, error) {
	a := &applier{engine: e, index: index, ring: ring, met: map[string]met{}, groups: map[string]string{}}
	plan, err := e.plan(ctx, src, worker{listed: a.admit, work: a.work, linked: a.linked})
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

// applier takes values from a manifest.
type applier struct {
	engine *Engine
	index  *manifest.Index
	ring   *ima.Keyring
	met    map[string]met
	groups map[string]string // the first name to attach to, by Entry.Same
}

// met counts the entries of a path.
type met struct {
	listed int
	taken  int // that get a value
}

// admit leaves an entry without a value in the manifest alone. A hard-link group
// is regrouped around the first of its names that has one.
func (a *applier) admit(j *job) {
	if a.byDigest() {
		if j.Reason == "" && !a.index.Attaches(a.place(j)) {
			j.err = fmt.Errorf("%s: %w: it has no value for its digest", j.Path, ErrMismatch)
		}
		return
	}
	m := a.met[j.Path]
	j.nth = m.listed
	m.listed++
	switch {
	case j.Reason != "":
	case a.index.Attaches(j.Path, j.nth):
		m.taken++
		a.regroup(&j.Entry)
	default:
		j.Reason, j.Same = "no value in the manifest", ""
	}
	a.met[j.Path] = m
}

func (a *applier) byDigest() bool { return a.index.Header.Container == manifest.Digests }

// place is where the entry's line is in the manifest.
func (a *applier) place(j *job) (path string, n int) {
	if a.byDigest() {
		return manifest.DigestPath(j.Hash, j.Digest), 0
	}
	return j.Path, j.nth
}

func (a *applier) regroup(e *Entry) {
	if e.Same == "" {
		return
	}
	if a.groups[e.Same] == "" {
		a.groups[e.Same] = e.Path
	}
	e.Same = a.groups[e.Same]
}

func (a *applier) work(ctx context.Context, d *digester, j *job) {
	line, err := a.line(j)
	if j.err = err; err != nil {
		return
	}
	if j.Digest == nil {
		j.Hash = line.Hash
		if j.err = j.digest(ctx, d); j.err != nil || j.Reason != "" {
			return
		}
	}
	if j.err = j.matches(&line); j.err != nil {
		return
	}
	value := line.Xattrs[ima.XattrIMA]
	key, err := a.check(j, value)
	j.key = key
	if j.err = err; err == nil {
		j.err = a.judge(j, value, key)
	}
}

// line returns the manifest's line of an entry that it has a value for.
func (a *applier) line(j *job) (manifest.Line, error) {
	line, _, err := a.index.Find(a.place(j))
	if err != nil {
		return line, err
	}
	if len(line.Digest) == 0 {
		return line, fmt.Errorf("%s: %w: it states no digest", j.Path, ErrMismatch)
	}
	for name := range line.Xattrs {
		if name != ima.XattrIMA {
			return line, fmt.Errorf("%s: %w: it states a value of %s, and only %s can be attached", j.Path, ErrMismatch, name, ima.XattrIMA)
		}
	}
	return line, nil
}

// matches compares the entry's digest with the one in the manifest.
func (j *job) matches(line *manifest.Line) error {
	switch {
	case j.Hash != line.Hash:
		return fmt.Errorf("%s: %w: it has a %s digest, the manifest states one of %s", j.Path, ErrMismatch, j.Hash, line.Hash)
	case !bytes.Equal(j.Digest, line.Digest):
		return fmt.Errorf("%s: %w: its content has changed since the manifest was made", j.Path, ErrMismatch)
	}
	return nil
}

// linked holds that further names of a hard link are to get what their inode
// gets: they may have been files of their own when the manifest was made.
func (a *applier) linked(j *job) {
	line, err := a.line(j)
	if err == nil {
		err = j.matches(&line)
	}
	if value := j.values[ima.XattrIMA]; err == nil && !bytes.Equal(value, line.Xattrs[ima.XattrIMA]) {
		err = fmt.Errorf("%s: %w: it is a hard link of %s now, for which the manifest states another value", j.Path, ErrMismatch, j.Same)
	}
	if len(j.Second) > 0 && err == nil && !a.engine.force && j.status != Unchanged {
		if why := a.compare(j.Second, j, j.key).refusal; why != nil {
			err = a.engine.refuse(j.Path, why)
		}
	}
	j.err = err
}

// check holds that value is valid for the digest: nothing is attached that was
// not verified. It returns the key that made it, nil for a digest.
func (a *applier) check(j *job, value []byte) (key *ima.PublicKey, err error) {
	v, err := ima.Parse(value)
	j.HashOnly = err == nil && v.Type == ima.TypeDigestNG
	switch {
	case err != nil:
	case v.Hash != j.Hash:
		err = fmt.Errorf("the value is over %s, the digest stated is %s", v.Hash, j.Hash)
	case j.HashOnly && bytes.Equal(v.Digest, j.Digest):
	default:
		key, err = a.ring.Verify(value, j.content())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", j.Path, ErrMismatch, err)
	}
	return key, nil
}

// judge decides whether a value of key, nil for a digest, takes the place of what is
// there.
func (a *applier) judge(j *job, value []byte, key *ima.PublicKey) error {
	old := j.Xattrs[ima.XattrIMA]
	if bytes.Equal(old, value) {
		j.decide(Unchanged, ima.XattrIMA, value)
		return nil
	}
	was := a.compare(old, j, key)
	if len(j.Second) > 0 && was.refusal == nil {
		was.refusal = a.compare(j.Second, j, key).refusal
	}
	if was.refusal != nil && !a.engine.force {
		return a.engine.refuse(j.Path, was.refusal)
	}
	if j.replaced = was.replaced; was.refusal != nil {
		j.replaced = NotOurs
	}
	status := Signed
	if j.HashOnly {
		status = Hashed
	}
	j.decide(status, ima.XattrIMA, value)
	return nil
}

// compare is Engine.compare for a value that was made elsewhere, by key. A key of
// the same id whose signature holds is not the one that made the new value.
func (a *applier) compare(old []byte, j *job, key *ima.PublicKey) prior {
	switch {
	case len(old) == 0:
		return prior{}
	case isDigest(old):
		return compareDigest(old, j)
	}
	v, err := ima.Parse(old)
	if err != nil {
		return unreadable(old, err)
	}
	if key == nil && v.IsSignature() { // a digest takes no signature's place
		return prior{refusal: fmt.Errorf("%w (%s)", ErrOtherKey, v)}
	}
	if err := ownForm(&v, key); err != nil {
		return prior{refusal: err}
	}
	if by, err := a.ring.Verify(old, j.content()); err == nil {
		if by != key && !key.Equal(by) {
			return prior{refusal: fmt.Errorf("%w, of the same key id (%s)", ErrOtherKey, v)}
		}
		return prior{replaced: Stale} // another signature of the same content
	}
	return madeBy(key, &v, j.Hash)
}

// missing names what the manifest has values for and the container does not have.
func (a *applier) missing() error {
	if a.byDigest() {
		return nil // it may be of other containers as well
	}
	var errs Errors
	for _, path := range a.index.Paths() {
		want := 0
		for n := range a.index.Count(path) {
			if a.index.Attaches(path, n) {
				want++
			}
		}
		if a.met[path].taken < want {
			errs.add(fmt.Errorf("%s: %w: there is no such regular file", path, ErrMismatch))
		}
	}
	return errs.err()
}
