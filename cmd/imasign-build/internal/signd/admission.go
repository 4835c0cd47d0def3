package signd

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/imasign/imasign-build/internal/protocol"
)

// How many bytes of requests, and of answers with their records, are in memory at a time. So slow clients
// cannot take the memory. Half of maxAnswers is enough for the four largest answers that a client asks for at a
// time: 1,024 signatures by ML-DSA-87.
const (
	maxBodies  = 8 << 20
	maxAnswers = 44 << 20
)

// budget limits the memory for something of which each client certificate has some.
type budget struct {
	most int64

	mu    sync.Mutex
	total int64
	each  map[[sha256.Size]byte]int64
}

func newBudget(most int64) *budget {
	return &budget{most: most, each: map[[sha256.Size]byte]int64{}}
}

// take reserves memory. It does not wait. A client gets at most half of what the others leave, so
// there is always some for another one.
func (b *budget) take(spki [sha256.Size]byte, size int64) (release func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.each[spki]
	if own+size > (b.most-b.total+own)/2 {
		return nil, false
	}
	b.total += size
	b.each[spki] += size
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.total -= size
		if b.each[spki] -= size; b.each[spki] == 0 {
			delete(b.each, spki)
		}
	}), true
}

// bodySize is the memory for a body whose Content-Length is n, -1 if it is not stated. It
// refuses bodies that are too large.
func bodySize(n int64) (int64, *protocol.RefusedError) {
	if n > protocol.MaxBody {
		return 0, tooLarge()
	}
	if n < 0 {
		return protocol.MaxBody, nil
	}
	return max(n, 4096), nil
}

func tooLarge() *protocol.RefusedError {
	return protocol.Refuse(protocol.TooLarge, "a request has at most %d bytes: ask for fewer signatures at a time", protocol.MaxBody)
}

// inFlight counts the batches that the server took and has not answered.
type inFlight struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n becomes 0; nil if nobody waits
}

func (f *inFlight) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
	if f.n == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

// wait waits until there is no batch.
func (f *inFlight) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	empty := f.empty
	f.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
