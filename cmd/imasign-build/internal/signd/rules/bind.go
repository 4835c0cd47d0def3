package rules

import (
	"context"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/internal/protocol"
)

// bind checks that something other than the requester vouches for the digests, if the rule
// wants that. It returns the SHA-256 of the approved manifests that they are in. The error is a
// [*protocol.RefusedError], or that of ctx.
func (r *Rule) bind(ctx context.Context, a *ask) (manifests [][]byte, err error) {
	switch {
	case r.Header != nil:
		return nil, r.inHeaders(ctx, a)
	case r.Approved != nil:
		return r.approved(ctx, a)
	}
	return nil, ctx.Err()
}

// inHeaders checks that each digest is in the signed header of the package that it is claimed to
// be from.
func (r *Rule) inHeaders(ctx context.Context, a *ask) error {
	if len(a.Claims) == 0 {
		return r.refuse(protocol.NotInHeader, "the request does not say which package each digest is from")
	}
	headers := make([]*pkgheader.Header, len(a.Origins))
	for i, digest := range a.digests {
		claim := &a.Claims[i]
		origin := &a.Origins[claim.Origin]
		if headers[claim.Origin] == nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			h, err := r.Header.Check(origin.Header, origin.Signature, a.now)
			if err != nil {
				return r.refuse(protocol.NotInHeader, "package %q: %v", origin.Name, err)
			}
			headers[claim.Origin] = h
		}
		if !headers[claim.Origin].Has(a.hash, digest) {
			return r.refuse(protocol.NotInHeader, "package %q: no file in its header has the %s digest %x, which is claimed to be of %q", origin.Name, a.hash, digest, claim.Path)
		}
	}
	return nil
}
