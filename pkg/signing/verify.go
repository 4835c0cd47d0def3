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

// Outcome is what verification found about an entry.
type Outcome uint8

// The outcomes of a Verdict. Unsigned and Bad are what verification is for.
const (
	OK       Outcome = iota // signed by a trusted key, content intact
	HashedOK                // digest-ng as asked for (Entry.HashOnly), content intact
	Unsigned                // has no security.ima
	Bad                     // has one that does not hold
	Ignored                 // not to be signed, for the entry's Reason
)

func (o Outcome) String() string {
	return [...]string{"ok", "hashed", "unsigned", "bad", "ignored"}[o]
}

// Wrong reports whether the outcome fails a verification.
func (o Outcome) Wrong() bool { return o == Unsigned || o == Bad }

// Verdict is what verification found about one entry.
type Verdict struct {
	Entry
	Outcome Outcome
	Err     error     // why it is wrong; wraps pkg/ima's errors
	KeyID   ima.KeyID // of the signature found; zero where there is none
}

// Verify checks the entries against ring, in the container's order, and hands
// report every verdict. A file that cannot be read is an error of the run, not a
// verdict. Where the container states digests, the values are checked against
// those: one over another hash algorithm is Bad (ErrOtherHash).
//
// With an index, entries must also be what that manifest says they are, no more
// and no fewer; what it leaves unsigned may stay so. Where a path repeats (tar),
// the n-th entry of a path is held against the n-th line of that path. What the
// Source leaves out (Reason) is held against what a listing shows: kind, mode and
// owner.
func (e *Engine) Verify(ctx context.Context, src Source, ring *ima.Keyring, index *manifest.Index, report func(Verdict) error) error {
	v := &verifier{ring: ring, index: index, met: map[string]int{}}
	var failures Errors
	err := inOrder(ctx, e.jobs, src, worker{listed: v.listed, work: v.work}, func(j *job) error {
		if j.err != nil {
			failures.add(j.err)
			return nil //nolint:nilerr // collected
		}
		e.observe.Tell(Event{Kind: Checked, Path: j.Path, Entries: 1, Bytes: j.bytes})
		verdict, err := v.verdict(j)
		if err != nil {
			return err
		}
		return report(verdict)
	})
	switch {
	case err == nil:
		err = failures.err()
	case ctx.Err() == nil:
		err = errors.Join(err, failures.err())
	}
	if err != nil || index == nil {
		return err
	}
	return v.missing(report)
}

// found is what was found out about an entry.
type found struct {
	outcome Outcome
	err     error
	keyID   ima.KeyID
}

func bad(err error) found { return found{outcome: Bad, err: err} }

type verifier struct {
	ring  *ima.Keyring
	index *manifest.Index
	met   map[string]int // how many entries of a path were listed
}

func (v *verifier) listed(j *job) {
	if v.index != nil {
		j.nth = v.met[j.Path]
		v.met[j.Path]++
	}
}

func (v *verifier) work(ctx context.Context, d *digester, j *job) {
	if j.err = v.find(j); j.err != nil {
		return
	}
	if j.stated = j.Digest != nil; j.stated {
		j.found = v.inspect(j)
		return
	}
	content, err := j.open(ctx)
	if j.err = err; err != nil || content == nil {
		return
	}
	if ids := j.wanted(); len(ids) > 0 {
		err = j.sum(ctx, d, content, ids...)
	}
	if j.err = errors.Join(err, content.Close()); j.err == nil {
		j.found = v.inspect(j)
	}
}

// find looks the entry up in the manifest.
func (v *verifier) find(j *job) (err error) {
	if v.index != nil {
		j.line, j.listed, err = v.index.Find(j.Path, j.nth)
	}
	return err
}

// wanted returns the hashes that the content is digested with: that of the value
// and that of the manifest, which need not be the same.
func (j *job) wanted() (ids []ima.HashID) {
	if value, err := ima.Parse(j.Xattrs[ima.XattrIMA]); err == nil && computable(value.Hash) {
		ids = append(ids, value.Hash)
	}
	if len(j.line.Digest) > 0 && !slices.Contains(ids, j.line.Hash) {
		ids = append(ids, j.line.Hash)
	}
	return ids
}

// inspect judges the entry by its own value.
func (v *verifier) inspect(j *job) found {
	raw := j.Xattrs[ima.XattrIMA]
	if len(raw) == 0 {
		return found{outcome: Unsigned, err: ErrUnsigned}
	}
	value, err := ima.Parse(raw)
	if err != nil {
		return bad(err)
	}
	digest := j.digestOf(value.Hash)
	switch {
	case digest == nil && j.stated:
		return found{Bad, fmt.Errorf("its value is %w: %s, the digest stated is %s", ErrOtherHash, value.Hash, j.Hash), value.KeyID}
	case digest == nil:
		return bad(fmt.Errorf("%w: %s cannot be computed by this program", ima.ErrUnknownHash, value.Hash))
	case value.Type == ima.TypeDigestNG || value.Type == ima.TypeDigest:
		return inspectDigest(&value, digest, j.HashOnly)
	}
	statement := ima.Statement{Form: ima.ContentSignature(), Hash: value.Hash, Digest: digest}
	if _, err := v.ring.Verify(raw, statement); err != nil {
		return found{Bad, err, value.KeyID}
	}
	return found{OK, nil, value.KeyID}
}

func inspectDigest(value *ima.Value, digest []byte, hashOnly bool) found {
	switch {
	case !bytes.Equal(value.Digest[:value.Hash.Size()], digest): // an MD5 digest may be padded
		return bad(ima.ErrDigestMismatch)
	case !hashOnly:
		return bad(ima.ErrHashOnly)
	}
	return found{outcome: HashedOK}
}

// compare holds the entry against its line of the manifest: the content, and the
// very value that is attached.
func (j *job) compare(f found) found {
	raw, want := j.Xattrs[ima.XattrIMA], j.line.Xattrs[ima.XattrIMA]
	digest := j.digestOf(j.line.Hash)
	mismatch := func(what string) found { return found{Bad, fmt.Errorf("%w: %s", ErrMismatch, what), f.keyID} }
	switch {
	case len(j.line.Digest) > 0 && digest == nil:
		return mismatch(fmt.Sprintf("it has a %s digest, not one of %s", j.Hash, j.line.Hash))
	case len(j.line.Digest) > 0 && !bytes.Equal(digest, j.line.Digest):
		return mismatch("its content has changed")
	case len(want) > 0 && len(raw) > 0 && !bytes.Equal(raw, want):
		return mismatch("it has another security.ima")
	case len(want) > 0 && errors.Is(f.err, ima.ErrHashOnly):
		return found{outcome: HashedOK} // the manifest asks for just this
	case len(want) == 0 && f.outcome == Unsigned:
		return found{outcome: Ignored}
	}
	return f
}

// verdict completes what the worker found, in the container's order. It leaves
// the job as it is: further names of a hard link adopt it.
func (v *verifier) verdict(j *job) (Verdict, error) {
	entry, f := j.Entry, j.found
	if j.Reason != "" {
		f = found{outcome: Ignored}
	}
	if v.index == nil {
		return Verdict{entry, f.outcome, f.err, f.keyID}, nil
	}
	if !j.listed { // not looked up yet: left out, or a further name of a hard link
		if err := v.find(j); err != nil {
			return Verdict{}, err
		}
	}
	if j.listed && j.Reason == "" {
		if f = j.compare(f); f.outcome == Ignored {
			entry.Reason = j.line.Unsigned
		}
	}
	if err := j.differs(&j.line, j.listed); err != nil && f.outcome != Bad {
		f.outcome, f.err = Bad, err
	}
	return Verdict{entry, f.outcome, f.err, f.keyID}, nil
}

// differs compares what a directory listing shows.
func (j *job) differs(line *manifest.Line, listed bool) error {
	kind, mode := manifest.Kind(j.Mode), manifest.Permissions(j.Mode)
	switch {
	case !listed:
		return fmt.Errorf("%w: it is not listed there", ErrMismatch)
	case kind != line.Kind:
		return fmt.Errorf("%w: it is a %s, not a %s", ErrMismatch, kind, line.Kind)
	case mode != line.Mode:
		return fmt.Errorf("%w: its mode is %04o, not %04o", ErrMismatch, mode, line.Mode)
	case j.UID != line.UID || j.GID != line.GID:
		return fmt.Errorf("%w: its owner is %d:%d, not %d:%d", ErrMismatch, j.UID, j.GID, line.UID, line.GID)
	}
	return nil
}

// missing reports what the manifest lists and the container does not have.
func (v *verifier) missing(report func(Verdict) error) error {
	for _, path := range v.index.Paths() {
		if v.met[path] >= v.index.Count(path) {
			continue
		}
		err := report(Verdict{Entry: Entry{Path: path}, Outcome: Bad, Err: fmt.Errorf("%w: it is not there", ErrMismatch)})
		if err != nil {
			return err
		}
	}
	return nil
}
