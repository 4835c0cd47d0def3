package approval

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// Want says which manifests are looked for.
type Want struct {
	SPKI   [sha256.Size]byte // of the key that is to sign
	Kind   Kind              // of the signatures
	Origin string
	// By are the names of the approvers, of whom AtLeast are needed.
	By      []string
	AtLeast int
}

// maxAhead is how far the clock of an approver may be ahead.
const maxAhead = 5 * time.Minute

// Find returns the manifests that enough approvers have approved. It first looks whether there
// is something new in the directory. If there are none, why says what is missing.
func (s *Store) Find(ctx context.Context, w Want, now time.Time) (found []*Manifest, why string) {
	s.refresh(ctx)
	why = fmt.Sprintf("nobody has approved a manifest of %q for this key, form and hash", w.Origin)
	for _, a := range *s.current.Load() {
		by, expired := a.count(w, now)
		switch {
		case len(by) >= w.AtLeast && a.manifest != nil:
			found = append(found, a.manifest)
		case len(by) >= w.AtLeast:
			why = fmt.Sprintf("the manifest %s of %q is approved, but its file is missing or does not count", a.name(), w.Origin)
		case len(by) > 0 || !expired.IsZero():
			why = fmt.Sprintf("the manifest %s of %q has %d of %d approvals", a.name(), w.Origin, len(by), w.AtLeast)
			if !expired.IsZero() {
				why += ", another one expired at " + expired.UTC().Format(time.RFC3339)
			}
		}
	}
	return found, why
}

// count returns the approvers whose approvals are valid, and when the last one expired of those
// that no longer are; the zero time if there is none.
func (a *approved) count(w Want, now time.Time) (by []string, expired time.Time) {
	for _, v := range a.votes {
		switch {
		case v.spki != w.SPKI, v.kind != w.Kind, v.origin != w.Origin, !slices.Contains(w.By, v.approver):
		case v.made.After(now.Add(maxAhead)):
		case now.After(v.notAfter):
			if v.notAfter.After(expired) {
				expired = v.notAfter
			}
		case !slices.Contains(by, v.approver):
			by = append(by, v.approver)
		}
	}
	return by, expired
}

// name is the beginning of the hash.
func (a *approved) name() string { return fmt.Sprintf("%x…", a.sum[:6]) }
