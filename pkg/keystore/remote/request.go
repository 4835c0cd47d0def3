package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// batch is what one request asks for.
type batch struct {
	form    ima.Form
	hash    ima.HashID
	digests [][]byte
	claims  []ima.Claim // nil, or one for each digest
}

// Sizes in bytes of parts of a request. They are upper bounds.
const (
	overhead       = 2048 // of everything but digests, origins and claims
	originOverhead = 64
	claimOverhead  = 32
)

// unknownContainer is the kind of the container of files that come from none.
const unknownContainer = "unknown"

// sizeOf returns the size that a digest adds to a request. met are the origins that the
// request has already.
func (k *key) sizeOf(digest []byte, c *ima.Claim, met map[*ima.Origin]bool) int {
	size := len(digest)
	if c == nil {
		return size
	}
	size += claimOverhead + min(len(c.Path), protocol.MaxPath) + len(c.IMA)
	if met[c.Origin] {
		return size
	}
	size += originOverhead
	if o := c.Origin; o != nil {
		size += len(o.Container) + min(len(o.Name), protocol.MaxPath)
		if k.headers.Load() {
			size += len(o.Header) + len(o.Signature)
		}
	}
	return size
}

// first returns the longest beginning of a batch that fits into one request of at most limit
// digests.
func (k *key) first(b *batch, limit int) (*batch, error) {
	met, size, n := map[*ima.Origin]bool{}, overhead, 0
	for ; n < min(len(b.digests), limit, protocol.MaxDigests); n++ {
		var c *ima.Claim
		if b.claims != nil {
			c = &b.claims[n]
		}
		if size += k.sizeOf(b.digests[n], c, met); size > protocol.MaxBody {
			break
		}
		if c != nil {
			met[c.Origin] = true
		}
	}
	if o := originOf(b); n == 0 {
		return nil, fmt.Errorf("%s: its header of %d bytes does not fit into a request to the service, which has at most %d bytes: build it as several packages, or sign it by a rule that wants no headers",
			o.Name, len(o.Header)+len(o.Signature), protocol.MaxBody)
	}
	part := &batch{form: b.form, hash: b.hash, digests: b.digests[:n]}
	if b.claims != nil {
		part.claims = b.claims[:n]
	}
	return part, nil
}

// originOf returns the origin of the first digest.
func originOf(b *batch) *ima.Origin {
	if len(b.claims) > 0 && b.claims[0].Origin != nil {
		return b.claims[0].Origin
	}
	return &ima.Origin{}
}

// without returns a batch without its first n digests.
func (b *batch) without(n int) *batch {
	rest := &batch{form: b.form, hash: b.hash, digests: b.digests[n:]}
	if b.claims != nil {
		rest.claims = b.claims[n:]
	}
	return rest
}

// request returns a new request for a server: with its own id, and the time of now.
func (k *key) request(server string, b *batch) (*protocol.Request, error) {
	r := &protocol.Request{
		Version: protocol.Version, Audience: server, Key: k.where.key, Requester: k.who.key.Public().(ed25519.PublicKey),
		ID: make([]byte, protocol.IDSize), Time: time.Now().Unix(),
		Type: uint8(b.form.Type), Signature: b.form.Version, Hash: uint8(b.hash),
	}
	if _, err := rand.Read(r.ID); err != nil {
		return nil, err
	}
	for _, digest := range b.digests {
		r.Digests = append(r.Digests, digest...)
	}
	origins := map[*ima.Origin]uint64{}
	for i := range b.claims {
		c := &b.claims[i]
		at, met := origins[c.Origin]
		if !met {
			at = uint64(len(r.Origins))
			origins[c.Origin] = at
			r.Origins = append(r.Origins, k.origin(c.Origin))
		}
		claim := protocol.Claim{Origin: at, Path: cut(c.Path)}
		if b.form.Type == ima.TypeEVMPortable && len(c.IMA) <= protocol.MaxIMA {
			claim.IMA = c.IMA
		}
		r.Claims = append(r.Claims, claim)
	}
	return r, nil
}

func (k *key) origin(o *ima.Origin) protocol.Origin {
	if o == nil || o.Container == "" {
		return protocol.Origin{Container: unknownContainer}
	}
	to := protocol.Origin{Container: o.Container, Name: cut(o.Name)}
	if k.headers.Load() {
		to.Header, to.Signature = o.Header, o.Signature
	}
	return to
}

// cut returns a name, shortened to what a claim may have.
func cut(name string) []byte { return []byte(name[:min(len(name), protocol.MaxPath)]) }
