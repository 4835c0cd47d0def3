package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Outcome is the result of verifying an entry or one of its values.
type Outcome uint8

// The outcomes. Unsigned and Bad fail a verification.
const (
	OK       Outcome = iota // signed by a trusted key, content intact
	HashedOK                // a digest without a signature, as asked for (Entry.HashOnly); content intact
	Unsigned                // no value
	Bad                     // a value that is not valid
	Ignored                 // not verified, for the entry's Reason
)

// String returns the outcome as a stable word, such as "ok" or "unsigned".
func (o Outcome) String() string {
	return [...]string{"ok", "hashed", "unsigned", "bad", "ignored"}[o]
}

// Wrong reports whether the outcome fails a verification.
func (o Outcome) Wrong() bool { return o == Unsigned || o == Bad }

// Judged is the result of verifying one value of an entry.
type Judged struct {
	Form    ima.Form // form of the value, or of the missing value
	Outcome Outcome
	Err     error     // why the value is wrong; wraps errors of this package or pkg/ima
	KeyID   ima.KeyID // key id of the signature; zero if there is no signature
	// Key is the trusted key that made the signature, or nil if there is none.
	Key *ima.PublicKey
}

// Verdict is the result of verifying one entry.
type Verdict struct {
	Entry
	// Judged is the result for the whole entry: the first wrong one of Values. If none is
	// wrong, it is the first signature, or the first of Values.
	Judged
	// Values are the results for the entry's values, in the order of the stages.
	Values []Judged
}

// Verify checks the entries in the container's order, and calls take with each verdict. A
// file that cannot be read makes Verify fail and has no verdict. Errors of single files
// are collected ([Errors]). If the container states digests, the values are checked
// against these, and a value over another hash algorithm is Bad ([ErrOtherHash]).
//
// A stage for version 2 accepts signatures of version 2 and 3, and a stage for version 3
// ([Stage.V3]) only those, as a kernel does under a rule with "appraise_type=sigv3" and, for
// security.evm, with bit 3 of EVM set. In either case the purpose of the key must allow it
// ([ima.ErrPurpose]).
//
// If there is a manifest (Trust.Index), the container must have exactly the manifest's
// entries, except as Trust.Beside and Trust.MayLack allow, and each must match its line. Entries that the manifest leaves unsigned may be
// unsigned. If a path repeats (tar), the n-th entry of the path is compared with the n-th
// line of that path. For entries with a Reason kind, mode, owner, the target of a symbolic link
// and the number of a device are compared.
func (e *Engine) Verify(ctx context.Context, src Source, t Trust, take func(Verdict) error) error {
	if err := t.check(); err != nil {
		return err
	}
	v := &verifier{engine: e, Trust: t, explainer: explainer{trust: &t}, seen: map[string]int{}}
	var failures Errors
	err := round[found]{jobs: e.jobs, observe: e.observe, targets: t.Index != nil, admit: v.admit, work: v.work, take: func(at *visit[found]) error {
		if at.err != nil {
			failures.add(at.err)
			return nil //nolint:nilerr // collected
		}
		e.observe.Tell(Event{Kind: Checked, Path: at.Path, Entries: 1, Bytes: at.bytes})
		verdict, err := v.verdict(at)
		if err != nil {
			return err
		}
		return take(verdict)
	}}.run(ctx, src)
	switch {
	case err == nil:
		err = failures.err()
	case ctx.Err() == nil:
		failures.drop(err)
		err = errors.Join(err, failures.err())
	}
	if err != nil || t.Index == nil {
		return err
	}
	return v.missing(take)
}

// found is the result of a worker for an entry.
type found struct {
	values []Judged
	line   manifest.Line
	looked bool // the manifest was searched for the line
	listed bool // the line was found
}

type verifier struct {
	Trust

	explainer

	engine *Engine
	seen   map[string]int // how many entries of each path were listed
}

func (v *verifier) admit(at *visit[found]) {
	if v.Index != nil {
		at.nth = v.seen[at.Path]
		v.seen[at.Path]++
	}
}

func (v *verifier) work(ctx context.Context, d *digester, at *visit[found]) {
	if at.err = v.find(at); at.err != nil {
		return
	}
	at.Verity = nil // the values say what they are over
	stated := len(at.Digests) > 0
	if !stated {
		f, err := at.open(ctx)
		if at.err = err; err != nil || f == nil {
			return
		}
		if list := v.wanted(at); len(list) > 0 {
			at.bytes, err = d.sum(ctx, &at.Entry, f, list)
		}
		if at.err = errors.Join(err, f.Close()); at.err != nil {
			return
		}
	}
	at.result.values = v.judge(&at.Entry, stated)
}

// find looks the entry up in the manifest.
func (v *verifier) find(at *visit[found]) (err error) {
	if v.Index != nil {
		at.result.line, at.result.listed, err = v.Index.Find(at.Path, at.nth)
	}
	at.result.looked = true
	return err
}

// wanted returns the digests to compute: those that the values are over and that of the
// manifest. They may differ.
func (v *verifier) wanted(at *visit[found]) (list []Digest) {
	add := func(d Digest) {
		same := func(o Digest) bool { return o.Hash == d.Hash && o.over() == d.over() }
		if !slices.ContainsFunc(list, same) {
			list = append(list, d)
		}
	}
	line := &at.result.line
	for i := range v.engine.stages {
		s := &v.engine.stages[i]
		value, err := ima.Parse(at.Xattrs[s.Xattr])
		if err != nil || s.Digest != nil || !computable(value.Hash) {
			continue
		}
		d := Digest{Hash: value.Hash}
		if value.Type == ima.TypeVerity && checkVerityHash(value.Hash) == nil {
			d.Verity = v.parameters(line)
		}
		add(d)
	}
	if len(line.Digest) > 0 {
		add(Digest{Hash: line.Hash, Verity: line.Verity})
	}
	return list
}

// judge judges each of the entry's values.
func (v *verifier) judge(e *Entry, stated bool) (list []Judged) {
	var before []Value
	for i := range v.engine.stages {
		s := &v.engine.stages[i]
		form, wanted := s.Form(e, before)
		if !wanted {
			continue
		}
		c := candidate{form: form, signed: s.signed(e, before)}
		j := v.value(s, &c, e, before, stated)
		if j.Outcome == Bad {
			j.Err = s.named(j.Err)
		}
		list = append(list, j)
		before = append(before, Value{Form: j.Form, Status: Unchanged, Bytes: e.Xattrs[s.Xattr]})
	}
	coverDigest(list)
	return list
}

// coverDigest accepts the right digest in place of a signature in security.ima, if a
// portable signature in security.evm covers it. Kernels since 5.14 accept it, too
// (xattr_verify in security/integrity/ima/ima_appraise.c).
func coverDigest(list []Judged) {
	covered := slices.ContainsFunc(list, func(j Judged) bool { return j.Form.Type == ima.TypeEVMPortable && j.Outcome == OK })
	for i := range list {
		if j := &list[i]; covered && j.Form.Xattr == ima.XattrIMA && errors.Is(j.Err, ima.ErrHashOnly) {
			j.Outcome, j.Err = HashedOK, nil
		}
	}
}

// value judges the value of a stage's xattr.
func (v *verifier) value(s *stage, c *candidate, e *Entry, before []Value, stated bool) Judged {
	j := Judged{Form: c.form, Outcome: Bad}
	raw := e.Xattrs[s.Xattr]
	if len(raw) == 0 {
		j.Outcome, j.Err = Unsigned, missingError{s.Xattr}
		return j
	}
	value, err := ima.Parse(raw)
	if j.Err = err; err != nil {
		return j
	}
	j.Form = value.Form(s.Xattr)
	c.signed = accepted(withVerity(c.signed, &value, e), &value)
	if c.digest, j.Err = s.over(c.signed, value.Hash, e, before); j.Err != nil {
		return j
	}
	switch {
	case c.digest == nil && stated:
		j.KeyID, j.Err = value.KeyID, fmt.Errorf("its value is %w: %s, but the stated digest is %s", ErrOtherHash, value.Hash, e.first().Hash)
	case c.digest == nil:
		j.Err = fmt.Errorf("%w: this program cannot compute %s", ima.ErrUnknownHash, value.Hash)
	case s.Digest == nil && (value.Type == ima.TypeDigestNG || value.Type == ima.TypeDigest):
		j.Outcome, j.Err = judgeDigest(&value, c)
	default:
		j.KeyID = value.KeyID
		if j.Key, j.Err = v.signature(e, raw, ima.Statement{Form: c.signed, Hash: value.Hash, Digest: c.digest}); j.Err == nil {
			j.Outcome = OK
		} else {
			j.Err = assumed(e, c.signed, v.explain(s, raw, e, before, j.Err))
		}
	}
	return j
}

func judgeDigest(value *ima.Value, c *candidate) (Outcome, error) {
	switch {
	case !bytes.Equal(value.Digest[:value.Hash.Size()], c.digest): // an MD5 digest may be padded
		return Bad, ima.ErrDigestMismatch
	case c.form.Signs():
		return Bad, ima.ErrHashOnly
	}
	return HashedOK, nil
}

// verdict completes the result of a worker. It is called in the container's order.
func (v *verifier) verdict(at *visit[found]) (Verdict, error) {
	out := Verdict{Entry: at.Entry, Judged: Judged{Outcome: Ignored}}
	if at.Reason == "" {
		out.Values = slices.Clone(at.result.values)
		out.sumUp()
	}
	if v.Index == nil {
		return out, nil
	}
	if at.leader != nil || !at.result.looked {
		if err := v.find(at); err != nil {
			return out, err
		}
	}
	line, listed := &at.result.line, at.result.listed
	if v.Beside && v.Index.Count(at.Path) == 0 {
		return out, nil
	}
	if listed && at.Reason == "" {
		if out.compare(line); out.Outcome == Ignored {
			out.Reason = line.Unsigned
		}
	}
	if err := differs(&at.Entry, line, listed); err != nil && out.Outcome != Bad {
		out.Outcome, out.Err = Bad, err
	}
	return out, nil
}

// sumUp sets the result for the whole entry from those for its values.
func (v *Verdict) sumUp() {
	better := func(j Judged) bool {
		return j.Outcome.Wrong() || j.Outcome == OK && v.Outcome == HashedOK
	}
	for i, j := range v.Values {
		if i == 0 || better(j) && !v.Outcome.Wrong() {
			v.Judged = j
		}
	}
}
