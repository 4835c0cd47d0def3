package signing

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// compare compares the entry's content and the exact bytes of its values with its line of
// the manifest.
func (v *Verdict) compare(line *manifest.Line) {
	listed := statedDigest(line)
	digest := v.digest(line.Hash, listed.over())
	switch {
	case len(line.Digest) == 0:
	case digest == nil:
		v.mismatch(otherDigest(&v.Entry, line).Error())
		return
	case !bytes.Equal(digest, line.Digest):
		v.mismatch("its content has changed")
		return
	}
	for i := range v.Values {
		j := &v.Values[i]
		raw, want := v.Xattrs[j.Form.Xattr], line.Xattrs[j.Form.Xattr]
		switch {
		case len(want) > 0 && len(raw) > 0 && !bytes.Equal(raw, want):
			v.mismatch("it has another " + j.Form.Xattr)
			return
		case len(want) > 0 && errors.Is(j.Err, ima.ErrHashOnly):
			j.Outcome, j.Err = HashedOK, nil // the manifest states only this digest
		case len(want) == 0 && (j.Outcome == Unsigned || errors.Is(j.Err, ima.ErrHashOnly)):
			// A digest protects nothing, and a hard link that the manifest lists may have one.
			j.Outcome, j.Err = Ignored, nil
		}
	}
	v.sumUp()
}

func (v *Verdict) mismatch(what string) {
	v.Outcome, v.Err = Bad, fmt.Errorf("%w: %s", ErrMismatch, what)
}

// differs compares the kind, mode, owner, target and device number of an entry with its
// line of the manifest. Manifests that earlier versions made state no targets and devices.
func differs(e *Entry, line *manifest.Line, listed bool) error {
	kind, mode := manifest.Kind(e.Mode), stmode.Permissions(e.Mode)
	switch {
	case !listed:
		return fmt.Errorf("%w: the manifest does not list it", ErrMismatch)
	case kind != line.Kind:
		return fmt.Errorf("%w: it is a %s, not a %s", ErrMismatch, kind, line.Kind)
	case mode != line.Mode:
		return fmt.Errorf("%w: its mode is %04o, not %04o", ErrMismatch, mode, line.Mode)
	case e.UID != line.UID || e.GID != line.GID:
		return fmt.Errorf("%w: its owner is %d:%d, not %d:%d", ErrMismatch, e.UID, e.GID, line.UID, line.GID)
	case line.Target != "" && e.Target != line.Target:
		return fmt.Errorf("%w: it points to %s, not %s", ErrMismatch, targetOf(e.Target), targetOf(line.Target))
	case line.Device != "" && e.Device != line.Device:
		return fmt.Errorf("%w: its device is %s, not %s", ErrMismatch, e.Device, line.Device)
	}
	return nil
}

// targetOf returns the target of a symbolic link as errors show it.
func targetOf(target string) string {
	if target == "" { // only tar has such links
		return `""`
	}
	return quote.Name(target)
}

// missing passes take a verdict for each path that the manifest lists more often than the
// container has it.
func (v *verifier) missing(take func(Verdict) error) error {
	for _, path := range v.Index.Paths() {
		if v.seen[path] >= v.Index.Count(path) || v.MayLack != nil && v.MayLack(path) {
			continue
		}
		err := take(Verdict{Entry: Entry{Path: path}, Judged: Judged{Outcome: Bad, Err: fmt.Errorf("%w: it is missing", ErrMismatch)}})
		if err != nil {
			return err
		}
	}
	return nil
}
