package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Approved binds a rule to manifests that people have approved. No request names a manifest: a
// digest is granted if it is in one of those of the origin.
type Approved struct {
	// Store has the approvals.
	Store *approval.Store
	// By are the names of approvers, of whom AtLeast must have approved a manifest. None of them
	// may be a requester of the rule.
	By      []string
	AtLeast int
	// Origin is the origin that the approvals state.
	Origin string
	// Keys are those of the service, whose signatures in security.ima a signature of the
	// metadata may cover. A rule for such signatures needs them.
	Keys *ima.Keyring
}

func (r *Rule) checkApproved() error {
	a := r.Approved
	if a == nil {
		return nil
	}
	if r.Header != nil {
		return r.fault("it wants package headers and approvals: make two rules")
	}
	switch {
	case a.Store == nil:
		return r.fault("there is no directory of approvals")
	case protocol.CheckOrigin(a.Origin) != nil:
		return r.fault("the origin must be one line of 1 to %d bytes", protocol.MaxName)
	case a.AtLeast < 1, a.AtLeast > len(a.By):
		return r.fault("%d of %d approvers cannot approve", a.AtLeast, len(a.By))
	}
	if err := r.checkNames("approver", a.By); err != nil {
		return err
	}
	for _, name := range a.By {
		if !a.Store.Has(name) {
			return r.fault("there is no approver %q", name)
		}
		if slices.Contains(r.Requesters, name) {
			return r.fault("%q is an approver and a requester: nobody approves what they ask for", name)
		}
	}
	overMetadata := func(f ima.Form) bool { return f.Over == ima.Metadata }
	if a.Keys == nil && slices.ContainsFunc(r.Forms, overMetadata) {
		return r.fault("no keys are known whose signatures in security.ima may be covered")
	}
	return nil
}

// approved checks that each digest is in an approved manifest, and returns the SHA-256 of these.
// If one is not, it looks again after the files that are new have been read.
func (r *Rule) approved(ctx context.Context, a *ask) (sums [][]byte, err error) {
	spki, err := approval.SPKI(a.key)
	if err != nil {
		return nil, r.refuse(protocol.NotApproved, "%v", err)
	}
	w := approval.Want{SPKI: spki, Kind: approval.Kind{Form: a.form, Hash: a.hash}, Origin: r.Approved.Origin, By: r.Approved.By, AtLeast: r.Approved.AtLeast}
	for range 2 {
		found, why := r.Approved.Store.Find(ctx, w, a.now)
		if sums, err = r.among(ctx, a, found, why); err == nil || ctx.Err() != nil {
			return sums, err
		}
		r.Approved.Store.Settle(ctx)
	}
	return nil, err
}

func (r *Rule) among(ctx context.Context, a *ask, found []*approval.Manifest, why string) (sums [][]byte, err error) {
	if len(found) == 0 {
		return nil, r.refuse(protocol.NotApproved, "%s", why)
	}
	has := func(m *approval.Manifest, i int) error { return r.hasDigest(a, m, i) }
	if a.form.Over == ima.Metadata {
		has = func(m *approval.Manifest, i int) error { return r.hasMetadata(a, m, i) }
		if len(a.Claims) == 0 {
			return nil, r.refuse(protocol.NotApproved, "the request does not say which file each digest is of")
		}
	}
	used := make([]bool, len(found))
	for i := range a.digests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var first error
		in := slices.IndexFunc(found, func(m *approval.Manifest) bool {
			err := has(m, i)
			if first == nil {
				first = err
			}
			return err == nil
		})
		if in < 0 {
			return nil, r.refuse(protocol.NotApproved, "%s%v", a.claimed(i), first)
		}
		used[in] = true
	}
	for i, m := range found {
		if used[i] {
			sums = append(sums, m.Sum[:])
		}
	}
	return sums, nil
}

// claimed says what a digest is claimed to be of.
func (a *ask) claimed(i int) string {
	if len(a.Claims) == 0 {
		return ""
	}
	return fmt.Sprintf("%q: ", a.Claims[i].Path)
}

func (r *Rule) hasDigest(a *ask, m *approval.Manifest, i int) error {
	if m.Has(approval.Kind{Form: a.form, Hash: a.hash}, a.digests[i]) {
		return nil
	}
	return fmt.Errorf("the %s digest %x is in no approved manifest of %q", a.hash, a.digests[i], r.Approved.Origin)
}

// hasMetadata computes the digest of the metadata from the line of the path that is claimed, and
// from the value of security.ima that came with the request.
func (r *Rule) hasMetadata(a *ask, m *approval.Manifest, i int) error {
	claim := &a.Claims[i]
	lines, err := m.Lines(string(claim.Path))
	if err != nil {
		return err
	}
	err = fmt.Errorf("no approved manifest of %q has a file of this path", r.Approved.Origin)
	for j := range lines {
		if err = r.checkIMA(&lines[j], claim.IMA); err != nil {
			continue
		}
		if matches(a, &lines[j], claim.IMA, i) {
			return nil
		}
		err = errors.New("its approved metadata and this security.ima have another digest")
	}
	return err
}

// checkIMA checks that a value of security.ima is one that the file of a line may get: a
// signature by a key of the service over the digest of the line, or this digest itself.
func (r *Rule) checkIMA(l *manifest.Line, value []byte) error {
	if l.Verity == nil && bytes.Equal(value, ima.DigestValue(l.Hash, l.Digest)) {
		return nil
	}
	v, err := ima.Parse(value)
	if err != nil {
		return fmt.Errorf("security.ima: %w", err)
	}
	form := v.Form(ima.XattrIMA)
	switch {
	case !v.IsSignature():
		return errors.New("security.ima is another digest")
	case form.Over == ima.Metadata, (form.Over == ima.Verity) != (l.Verity != nil):
		return fmt.Errorf("security.ima is over the %s", form.Over)
	case l.Unsigned != "":
		return errors.New("security.ima is a signature, but the manifest gives the file only a digest")
	}
	if _, err = r.Approved.Keys.Verify(value, ima.Statement{Form: form, Hash: l.Hash, Digest: l.Digest}); err != nil {
		return fmt.Errorf("security.ima: %w", err)
	}
	return nil
}

// matches reports whether a digest is that of a line's metadata with this security.ima, for any
// kind of kernel.
func matches(a *ask, l *manifest.Line, value []byte, i int) bool {
	xattrs := map[string][]byte{ima.XattrIMA: value}
	for name, v := range l.Covered {
		xattrs[name] = v
	}
	const regular = 0o100000
	for _, target := range []ima.EVMTarget{{}, {Bits32: true}, {BigEndian: true}, {Bits32: true, BigEndian: true}} {
		m := ima.EVMMetadata{EVMTarget: target, Portable: true, UID: l.UID, GID: l.GID, Mode: uint16(regular | l.Mode)}
		if digest, err := ima.EVMDigest(a.hash, m, xattrs); err == nil && bytes.Equal(digest, a.digests[i]) {
			return true
		}
	}
	return false
}
