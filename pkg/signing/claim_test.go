package signing_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// curious is a signer that wants to know what it signs.
type curious struct {
	ima.Signer

	mu     sync.Mutex
	claims []ima.Claim
}

func (c *curious) SignClaims(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte, claims []ima.Claim) ([][]byte, error) {
	c.mu.Lock()
	c.claims = append(c.claims, claims...)
	c.mu.Unlock()
	return c.Sign(ctx, f, h, digests)
}

// TestClaims plans entries of a named container with both kinds of signatures. The claims must
// name the files, and the claim of an EVM signature the value of security.ima that it covers.
func TestClaims(t *testing.T) {
	origin := &ima.Origin{Container: "tree", Name: "n"}
	k := newKey(t)
	claims := &curious{Signer: k.signer()}
	key := &signing.Key{Signer: claims, Public: k.public}
	e := engine(t, signing.Options{Stages: []signing.Stage{
		signing.ContentStage(key, ima.SHA256), signing.PortableStage(key, ima.SHA256, func() ima.EVMTarget { return ima.EVMTarget{} }),
	}})
	a, b := file("a", "a"), file("b", "b")
	a.Origin, b.Origin = origin, origin
	plan(t, e, a, b)
	var paths []string
	for _, c := range claims.claims {
		if c.Origin != origin {
			t.Errorf("%s: the container is %+v", c.Path, c.Origin)
		}
		what := c.Path
		if c.IMA != nil {
			what += " with security.ima"
		}
		paths = append(paths, what)
	}
	slices.Sort(paths)
	if want := []string{"a", "a with security.ima", "b", "b with security.ima"}; !slices.Equal(paths, want) {
		t.Errorf("got %q, want %q", paths, want)
	}
}
