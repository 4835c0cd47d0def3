package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/internal/quote"
)

// refusal is why one rule does not grant a request, and how far the request came in it.
type refusal struct {
	reached stage
	error   error
}

// stage is what a rule looks at, in order.
type stage int

const (
	nothing stage = iota
	atHash
	atForm
	atBatch
	atQuota
	atBinding
	atEnd
)

// try lets one rule judge a request. The quota is looked at before the binding, which costs
// more, and taken after it.
func (s *Set) try(ctx context.Context, r *Rule, a *ask) (Grant, *refusal) {
	if why := r.allows(a); why != nil {
		return Grant{}, why
	}
	digests := int64(len(a.digests))
	if left, enough := s.usage.room(r, a.requester, a.now, digests); !enough {
		return Grant{}, r.noQuota(a, left)
	}
	manifests, err := r.bind(ctx, a)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return Grant{}, &refusal{atEnd, context.Cause(ctx)}
	default:
		return Grant{}, &refusal{atBinding, err}
	}
	release, left := s.usage.take(r, a.requester, a.now, digests)
	if release == nil {
		return Grant{}, r.noQuota(a, left)
	}
	return Grant{Rule: r.Name, Manifests: manifests, Release: release}, nil
}

// allows looks at what a request says about itself.
func (r *Rule) allows(a *ask) *refusal {
	refuse := func(at stage, format string, args ...any) *refusal {
		return &refusal{at, r.refuse(protocol.NoRule, format, args...)}
	}
	batch := r.Batch
	if batch == 0 {
		batch = protocol.MaxDigests
	}
	switch {
	case a.hash.CheckSigns() != nil:
		return refuse(atHash, "%v", a.hash.CheckSigns())
	case len(r.Hashes) > 0 && !slices.Contains(r.Hashes, a.hash):
		return refuse(atHash, "it does not allow digests by %s", a.hash)
	case !slices.Contains(r.Forms, a.form):
		return refuse(atForm, "it does not allow signatures of version %d over the %s in %s", a.form.Version, a.form.Over, a.form.Xattr)
	case len(a.digests) > batch:
		return &refusal{atBatch, r.refuse(protocol.TooLarge, "a request has %d digests, it allows %d", len(a.digests), batch)}
	}
	return nil
}

// refuse returns a refusal in one line of printable text.
func (r *Rule) refuse(code protocol.Code, format string, args ...any) *protocol.RefusedError {
	text := quote.Text(fmt.Sprintf(format, args...))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return protocol.Refuse(code, "rule %s: %s", r.Name, text)
}

// maxText is the length in bytes of the longest refusal. Paths and headers can be much longer.
const maxText = 2000

func (r *Rule) noQuota(a *ask, left int64) *refusal {
	return &refusal{atQuota, r.refuse(protocol.Quota, "%s has %d of %d digests left until midnight UTC, and asks for %d", a.requester, left, r.Quota, len(a.digests))}
}
