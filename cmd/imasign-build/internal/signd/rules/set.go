package rules

import (
	"context"
	"slices"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Set is a list of rules. It never changes after it is made, and is safe for concurrent use.
type Set struct {
	rules []Rule
	usage *Usage
}

// New returns a set of the rules, in their order. Several sets may share one usage, as the sets
// before and after a reload do. New returns an error for a rule that is incomplete, that no
// request can match, or that has the name of another one.
func New(list []Rule, usage *Usage) (*Set, error) {
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list[:i], func(r Rule) bool { return r.Name == list[i].Name }) {
			return nil, list[i].fault("another rule has the same name")
		}
	}
	return &Set{slices.Clone(list), usage}, nil
}

// Grant is the permission to sign the digests of one request.
type Grant struct {
	// Rule is the name of the rule that grants it.
	Rule string
	// Manifests are the SHA-256 of the approved manifests that the digests are in. There are
	// none unless the rule wants approvals.
	Manifests [][]byte
	// Release gives the quota back. Call it if nothing was signed. It does nothing the second
	// time.
	Release func()
}

// ask is a request that a rule judges.
type ask struct {
	*protocol.Request

	requester string
	form      ima.Form
	hash      ima.HashID
	digests   [][]byte
	key       *ima.PublicKey
	now       time.Time
}

// Judge returns the grant of the first rule that grants a request. requester is its name in
// the configuration, which the caller knows by the key that signed the request. key is the
// public key of the key that the request names. The request must be valid
// ([protocol.Request.Check]).
//
// The error is a [*protocol.RefusedError], or that of ctx.
func (s *Set) Judge(ctx context.Context, r *protocol.Request, requester string, key *ima.PublicKey, now time.Time) (Grant, error) {
	form, err := r.Form()
	if err != nil {
		return Grant{}, protocol.Refuse(protocol.Malformed, "%v", err)
	}
	a := &ask{r, requester, form, ima.HashID(r.Hash), r.Split(), key, now}
	refused := &refusal{error: protocol.Refuse(protocol.NoRule, "no rule lets %s sign with the key %s", requester, r.Key)}
	for i := range s.rules {
		rule := &s.rules[i]
		if !rule.concerns(requester, r.Key) {
			continue
		}
		grant, why := s.try(ctx, rule, a)
		if why == nil {
			return grant, nil
		}
		if why.reached > refused.reached {
			refused = why
		}
	}
	return Grant{}, refused.error
}

// WantsHeaders reports whether a rule for this requester and key wants package headers.
func (s *Set) WantsHeaders(requester, key string) bool {
	return slices.ContainsFunc(s.rules, func(r Rule) bool { return r.Header != nil && r.concerns(requester, key) })
}
