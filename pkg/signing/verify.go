package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

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
// verdict. With an index, entries must also be what that manifest says they are,
// no more and no fewer; what it leaves unsigned may stay so.
func (e *Engine) Verify(ctx context.Context, src Source, ring *ima.Keyring, index *manifest.Index, report func(Verdict) error) error {
	v := &verifier{ring: ring, index: index, met: map[string]bool{}}
	var failures Errors
	err := inOrder(ctx, e.jobs, src, v.work, func(j *job) error {
		if j.err != nil {
			failures.add(j.err)
			return nil
		}
		e.observe.Tell(Event{Kind: Checked, Path: j.Path, Entries: 1, Bytes: j.bytes})
		verdict, err := v.verdict(j)
		if err != nil {
			return err
		}
		return report(verdict)
	})
	if err == nil {
		err = failures.err()
	}
	if err != nil || index == nil {
		return err
	}
	return v.missing(report)
}

// found is what the worker found out about an entry.
type found struct {
	outcome Outcome
	err     error
	keyID   ima.KeyID
}

func bad(err error) found { return found{outcome: Bad, err: err} }

type verifier struct {
	ring  *ima.Keyring
	index *manifest.Index
	met   map[string]bool
}

func (v *verifier) work(ctx context.Context, d *digester, j *job) {
	content, err := j.Open(ctx, &j.Entry)
	if j.err = err; err != nil || content == nil {
		return
	}
	if j.found, err = v.inspect(ctx, d, j, content); err == nil && v.index != nil {
		err = v.compare(j)
	}
	j.err = errors.Join(err, content.Close())
}

// inspect judges the entry by its own value.
func (v *verifier) inspect(ctx context.Context, d *digester, j *job, content io.Reader) (found, error) {
	raw := j.Xattrs[ima.XattrIMA]
	if len(raw) == 0 {
		return found{outcome: Unsigned, err: ErrUnsigned}, v.sumListed(ctx, d, j, content)
	}
	value, err := ima.Parse(raw)
	if err != nil {
		return bad(err), nil
	}
	if j.Hash = value.Hash; !computable(j.Hash) {
		return bad(fmt.Errorf("%w: %s cannot be computed by this program", ima.ErrUnknownHash, j.Hash)), nil
	}
	if err := j.sum(ctx, d, content); err != nil {
		return found{}, err
	}
	if value.Type == ima.TypeDigestNG || value.Type == ima.TypeDigest {
		return j.inspectDigest(value), nil
	}
	if err := v.ring.Verify(raw, j.Digest); err != nil {
		return found{Bad, err, value.KeyID}, nil
	}
	return found{OK, nil, value.KeyID}, nil
}

func (j *job) inspectDigest(value ima.Value) found {
	switch {
	case !bytes.Equal(value.Digest, j.Digest):
		return bad(ima.ErrDigestMismatch)
	case !j.HashOnly:
		return bad(ima.ErrHashOnly)
	}
	return found{outcome: HashedOK}
}

// sumListed digests an unsigned entry whose digest a manifest states.
func (v *verifier) sumListed(ctx context.Context, d *digester, j *job, content io.Reader) error {
	if v.index == nil {
		return nil
	}
	line, _, err := v.index.Find(j.Path)
	if err != nil || len(line.Digest) == 0 {
		return err
	}
	j.Hash = line.Hash
	return j.sum(ctx, d, content)
}

// compare holds the entry against its line of the manifest: the content, and the
// very value that is attached.
func (v *verifier) compare(j *job) error {
	line, listed, err := v.index.Find(j.Path)
	if err != nil || !listed { // verdict says so
		return err
	}
	raw, want := j.Xattrs[ima.XattrIMA], line.Xattrs[ima.XattrIMA]
	switch {
	case j.Digest != nil && j.Hash == line.Hash && !bytes.Equal(j.Digest, line.Digest):
		j.found = found{Bad, fmt.Errorf("%w: its content has changed", ErrMismatch), j.found.keyID}
	case len(want) > 0 && len(raw) > 0 && !bytes.Equal(raw, want):
		j.found = found{Bad, fmt.Errorf("%w: it has another security.ima", ErrMismatch), j.found.keyID}
	case len(want) > 0 && errors.Is(j.found.err, ima.ErrHashOnly):
		j.found = found{outcome: HashedOK} // the manifest asks for just this
	case len(want) == 0 && j.found.outcome == Unsigned:
		j.Reason = line.Unsigned
		j.found = found{outcome: Ignored}
	}
	return nil
}

// verdict completes what the worker found, in the container's order.
func (v *verifier) verdict(j *job) (Verdict, error) {
	f := j.found
	if j.Reason != "" {
		f = found{outcome: Ignored}
	}
	if v.index != nil {
		v.met[j.Path] = true
		line, listed, err := v.index.Find(j.Path)
		if err != nil {
			return Verdict{}, err
		}
		if err := j.differs(line, listed); err != nil && f.outcome != Bad {
			f.outcome, f.err = Bad, err
		}
	}
	return Verdict{Entry: j.Entry, Outcome: f.outcome, Err: f.err, KeyID: f.keyID}, nil
}

// differs compares what a directory listing shows.
func (j *job) differs(line manifest.Line, listed bool) error {
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
		if v.met[path] {
			continue
		}
		err := report(Verdict{Entry: Entry{Path: path}, Outcome: Bad, Err: fmt.Errorf("%w: it is not there", ErrMismatch)})
		if err != nil {
			return err
		}
	}
	return nil
}
