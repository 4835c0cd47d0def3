package signing

import (
	"context"
	"crypto/rsa"
	"sync"

	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Batch is a list of digests that one key signs, all of one form and hash.
type Batch struct {
	Key     *ima.PublicKey // verifies the signatures
	Form    ima.Form
	Hash    ima.HashID
	Digests [][]byte

	rsa func() *libcrypto.Verifier // of Key; returns nil where there is none
}

// Cache keeps signatures from one run to the next. It need not be trusted: a signature that
// it returns is verified before it is used, and made again if it is not valid. It has no
// errors, because signing continues without it. A Cache that fails reports that itself,
// once. Several goroutines may use it.
//
// Signatures are raw: they have no header ([ima.Value]).
type Cache interface {
	// Get returns a signature for each digest of the batch, nil where it knows none.
	Get(ctx context.Context, b Batch) (signatures [][]byte)
	// Put stores new signatures of the digests. refused has the signatures that Get
	// returned and that are not valid, nil where there was none: Put replaces these. Where
	// the cache has another signature, because another process stored it meanwhile, Put
	// keeps that one. It returns the signatures that the cache has now, nil where it has
	// none. Its lists have one element for each digest.
	Put(ctx context.Context, b Batch, signatures, refused [][]byte) (kept [][]byte)
}

// valid reports whether a signature from a cache may be used.
func (b *Batch) valid(i int, signature []byte) bool {
	if len(signature) == 0 || !b.Key.Purpose().Allows(b.Form) {
		return false
	}
	// In version 2, what is signed is the digest itself.
	if h, known := b.Hash.CryptoHash(); known && b.Form.Version == 2 && b.rsa != nil {
		if fast := b.rsa(); fast != nil && fast.Valid(h, b.Digests[i], signature) {
			return true
		}
	}
	return b.Key.Verify(ima.Statement{Form: b.Form, Hash: b.Hash, Digest: b.Digests[i]}, signature) == nil
}

// rsaVerifier returns a function that returns libcrypto's verifier of signatures by an RSA
// key, or nil for other keys and without libcrypto.
func rsaVerifier(key *ima.PublicKey) func() *libcrypto.Verifier {
	return sync.OnceValue(func() *libcrypto.Verifier {
		public, ok := key.Public().(*rsa.PublicKey)
		if !ok {
			return nil
		}
		library, err := libcrypto.Load()
		if err != nil {
			return nil
		}
		verifier, err := library.NewVerifier(public)
		if err != nil {
			return nil
		}
		return verifier
	})
}

// value returns the value of an xattr with a signature of the batch.
func (b *Batch) value(signature []byte) []byte {
	v := ima.Value{Type: b.Form.Type, Version: b.Form.Version, Hash: b.Hash, KeyID: b.Key.ID(), Signature: signature}
	return v.Append(nil)
}

// signature returns the signature of a value that [ima.Sign] made.
func signature(value []byte) []byte {
	v, err := ima.Parse(value)
	if err != nil {
		return nil
	}
	return v.Signature
}

// batchOf returns the digests of slots, which have one form and hash.
func (q *queue) batchOf(slots []*slot) Batch {
	b := Batch{Key: q.key.Public, Form: slots[0].form, Hash: slots[0].hash, Digests: make([][]byte, len(slots)), rsa: q.rsa}
	for i, s := range slots {
		b.Digests[i] = []byte(s.digest)
	}
	return b
}

// recall looks for the signatures of slots in the caches, one cache after the other, and
// returns the slots whose signatures must be made. A signature that is found is stored in
// the caches that did not have it; one that a manifest had is also stored in those that were
// not asked.
func (q *queue) recall(slots []*slot) (missing []*slot) {
	ctx, stop := wanted(slots)
	defer stop()
	missing = slots
	for i, cache := range q.caches {
		if len(missing) == 0 || ctx.Err() != nil {
			break
		}
		missing = q.recallFrom(ctx, i, cache, missing)
	}
	return missing
}

func (q *queue) recallFrom(ctx context.Context, n int, cache Cache, slots []*slot) (missing []*slot) {
	b := q.batchOf(slots)
	found := cache.Get(ctx, b)
	var hits []*slot
	for i, s := range slots {
		switch {
		case i >= len(found) || len(found[i]) == 0:
			missing = append(missing, s)
		case b.valid(i, found[i]):
			s.value, s.cached = b.value(found[i]), true
			hits = append(hits, s)
		default:
			if s.refused == nil {
				s.refused = make([][]byte, len(q.caches))
			}
			s.refused[n] = found[i]
			missing = append(missing, s)
		}
	}
	q.store(ctx, q.caches[:n], hits)
	if _, decides := cache.(*archive); decides {
		q.offer(ctx, q.caches[n+1:], hits)
	}
	for _, s := range hits {
		s.refused = nil
		close(s.done)
	}
	return missing
}

// store stores the signatures of slots in caches. If a cache already has another signature
// that is valid, the slot gets that one, so that processes that sign the same digest at the
// same time agree. The first cache that has a signature decides, because it is asked first in
// the next run.
func (q *queue) store(ctx context.Context, caches []Cache, slots []*slot) {
	if len(slots) == 0 || len(caches) == 0 {
		return
	}
	b := q.batchOf(slots)
	signatures, refused, settled := make([][]byte, len(slots)), make([][]byte, len(slots)), make([]bool, len(slots))
	for n, cache := range caches {
		for i, s := range slots {
			signatures[i], refused[i] = signature(s.value), nil
			if s.refused != nil {
				refused[i] = s.refused[n]
			}
		}
		kept := cache.Put(context.WithoutCancel(ctx), b, signatures, refused) // what was made is kept, even if it is no longer needed
		for i, s := range slots {
			switch {
			case i >= len(kept) || settled[i]:
			case string(kept[i]) == string(signatures[i]):
				settled[i] = true
			case b.valid(i, kept[i]):
				s.value, settled[i] = b.value(kept[i]), true
			}
		}
	}
}
