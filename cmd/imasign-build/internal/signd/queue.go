package signd

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

const (
	// maxWait is how long a batch is expected to wait at most until the key begins with it.
	maxWait = 2 * time.Second
	// maxPending is how many batches wait at most, whatever they take.
	maxPending = 64
	// chunkSize is how many digests a core signs at a time at most, as one call of libcrypto does.
	chunkSize = 128
	// minChunk is how many digests are worth handing to another core.
	minChunk = 8
)

// queue signs batches with one key. Requesters with batches take turns, of one part of a batch each, and those
// of one requester are signed in the order in which they came. A batch is divided among the key's
// workers, so that one alone uses every core. Workers exist only while there is work.
type queue struct {
	sign    func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) (signatures [][]byte, err error)
	workers int
	chunk   int // digests that a worker signs at a time; 0 to divide a batch evenly

	mu      sync.Mutex
	each    map[string]*share // by the name of the requester; of those with pending batches
	turns   []*share          // those with batches that are not all handed out, the next one first
	waiting int               // digests that nobody signs yet, reserved ones included
	pending int               // batches that are admitted and not ended
	running int               // workers
	cost    time.Duration     // of one digest on one worker, lately; 0 if it is not known
}

// share is what the queue has of one requester.
type share struct {
	batches []*batch // that are not all handed out
	waiting int      // as in queue
	pending int
}

// batch is a list of digests of one form and hash.
type batch struct {
	of      *share
	ctx     context.Context //nolint:containedctx // of the request, which may end while the batch waits
	form    ima.Form
	hash    ima.HashID
	digests [][]byte
	signed  [][]byte // raw signatures
	next    int      // the first digest that no worker has
	left    int      // digests that are not signed
	err     error
	done    chan struct{}
}

// admit reserves a place for n digests of a requester. If they would wait too long, it refuses, and says how
// long. The caller calls do or leave.
func (q *queue) admit(who string, n int) (refusal *protocol.RefusedError, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if refusal, wait := q.full(who); refusal != nil {
		return refusal, wait
	}
	if q.each == nil {
		q.each = map[string]*share{}
	}
	one := q.each[who]
	if one == nil {
		one = &share{}
		q.each[who] = one
	}
	one.pending++
	one.waiting += n
	q.pending++
	q.waiting += n
	return nil, 0
}

// full returns a refusal if another batch of a requester would wait too long. As requesters take
// turns, it depends on what the requester has in the queue, and on how many others have something there:
// one that fills its share leaves the shares of others alone. The caller holds q.mu.
func (q *queue) full(who string) (refusal *protocol.RefusedError, wait time.Duration) {
	own := q.each[who]
	if own == nil { // each requester gets one batch
		return nil, 0
	}
	sharing := len(q.each)
	wait = q.wait(min(own.waiting*sharing, q.waiting))
	if own.pending*sharing >= maxPending || wait > maxWait {
		return protocol.Refuse(protocol.Busy, "%d digests of requester %s wait for the key, for about %s", own.waiting, who, wait.Round(time.Second/10)), wait
	}
	return nil, 0
}

// busy returns a refusal, and how long a batch would wait, if the queues of all keys are full for these
// requesters. So an overloaded server does not read and decode what it will refuse: it signs meanwhile.
func (s *Server) busy(peers []*Requester) (refusal *protocol.RefusedError, wait time.Duration) {
	for _, k := range s.keys {
		for _, peer := range peers {
			k.queue.mu.Lock()
			refusal, wait = k.queue.full(peer.Name)
			k.queue.mu.Unlock()
			if refusal == nil {
				return nil, 0
			}
		}
	}
	return refusal, wait
}

// wait is how long the workers take for n digests.
func (q *queue) wait(n int) time.Duration {
	return time.Duration(n) * q.cost / time.Duration(max(q.workers, 1))
}

// leave gives back a place.
func (q *queue) leave(who string, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	one := q.each[who]
	q.handOut(one, n)
	q.ended(who, one)
}

// handOut notes that n digests wait no longer. The caller holds q.mu.
func (q *queue) handOut(one *share, n int) {
	one.waiting -= n
	q.waiting -= n
}

// ended notes that a batch is no longer pending. The caller holds q.mu.
func (q *queue) ended(who string, one *share) {
	q.pending--
	if one.pending--; one.pending == 0 {
		delete(q.each, who)
	}
}

// do signs the digests for which there is a place, and returns their signatures. If ctx ends, the
// digests that no worker has yet are dropped.
func (q *queue) do(ctx context.Context, who string, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	b := &batch{ctx: ctx, form: f, hash: h, digests: digests, signed: make([][]byte, len(digests)), left: len(digests), done: make(chan struct{})}
	q.mu.Lock()
	b.of = q.each[who]
	if b.of.batches = append(b.of.batches, b); len(b.of.batches) == 1 {
		q.turns = append(q.turns, b.of)
	}
	for need := (len(digests) + minChunk - 1) / minChunk; need > 0 && q.running < q.workers; need-- {
		q.running++
		go q.work()
	}
	q.mu.Unlock()
	select {
	case <-b.done:
	case <-ctx.Done():
		q.mu.Lock()
		q.fail(b, context.Cause(ctx))
		q.mu.Unlock()
		<-b.done // workers that have begun use the digests
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended(who, b.of)
	if b.err != nil {
		return nil, b.err
	}
	return b.signed, nil
}

// fail drops the digests of a batch that no worker has. The caller holds q.mu.
func (q *queue) fail(b *batch, err error) {
	if b.err == nil {
		b.err = err
	}
	rest := len(b.digests) - b.next
	b.next = len(b.digests)
	q.handOut(b.of, rest)
	q.end(b, rest)
}

// end notes that n digests need no more work. The caller holds q.mu.
func (q *queue) end(b *batch, n int) {
	if b.left -= n; b.left == 0 && n > 0 {
		close(b.done)
	}
}

// work signs until nothing waits.
func (q *queue) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.running-- }()
	for {
		b, from, to := q.take()
		if b == nil {
			return
		}
		q.mu.Unlock()
		start := time.Now()
		signatures, err := q.sign(b.ctx, b.form, b.hash, b.digests[from:to])
		took := time.Since(start)
		q.mu.Lock()
		if err != nil {
			q.fail(b, err)
		} else {
			copy(b.signed[from:to], signatures)
			q.learn(took / time.Duration(to-from))
		}
		q.end(b, to-from)
	}
}

// take returns the next digests to sign. The caller holds q.mu.
func (q *queue) take() (b *batch, from, to int) {
	for len(q.turns) > 0 {
		one := q.turns[0]
		q.turns = slices.Delete(q.turns, 0, 1)
		if b = q.first(one); b == nil {
			continue
		}
		from = b.next
		to = min(from+q.size(len(b.digests)), len(b.digests))
		b.next = to
		q.handOut(one, to-from)
		q.turns = append(q.turns, one)
		return b, from, to
	}
	return nil, 0, 0
}

// first returns the first batch of a requester that is not all handed out, or nil. The caller holds q.mu.
func (q *queue) first(one *share) *batch {
	for len(one.batches) > 0 {
		b := one.batches[0]
		if b.ctx.Err() != nil && b.next < len(b.digests) {
			q.fail(b, context.Cause(b.ctx))
		}
		if b.next < len(b.digests) {
			return b
		}
		one.batches = slices.Delete(one.batches, 0, 1)
	}
	return nil
}

// size returns how many digests of a batch of n a worker takes.
func (q *queue) size(n int) int {
	if q.chunk > 0 {
		return q.chunk
	}
	return min(max((n+q.workers-1)/q.workers, minChunk), chunkSize)
}

// learn updates the cost of a digest. The caller holds q.mu.
func (q *queue) learn(cost time.Duration) {
	if q.cost == 0 {
		q.cost = cost
	}
	q.cost += (cost - q.cost) / 8
}

// length returns how many batches the queue has, and how many of their digests wait.
func (q *queue) length() (batches, digests int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending, q.waiting
}

// workersFor returns how many workers a key has that states parallelism, 0 for one a core.
func workersFor(parallelism int) int {
	if parallelism > 0 {
		return parallelism
	}
	return runtime.GOMAXPROCS(0)
}
