package signing

import (
	"context"
	"fmt"
	"sync"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/ima"
)

// batchSize is the number of digests that a signer gets at a time. It is large enough to
// make a call into libcrypto, an HSM or another machine worth its cost.
const batchSize = 128

// memoBytes limits the memory for the signatures that a queue remembers.
const memoBytes = 8 << 20

// queue signs digests with one key, for all plans of an Engine. It signs a batch when
// the batch is full, or when a plan waits for a signature. Its goroutines exist only
// while there is work, so it need not be closed.
type queue struct {
	key     *Key
	workers int
	work    func() // signs batches until none is left; runs on its own goroutine

	mu      sync.Mutex
	pending []*slot
	waiting int // number of callers that wait for a signature
	running int // number of goroutines that sign
	memo    map[statement]*slot
	size    int // of memo, in bytes
}

// statement is the key of the memo. Each statement is signed once.
type statement struct {
	form   ima.Form
	hash   ima.HashID
	digest string
}

// slot is a place for a signature. After done is closed, value or err is set.
type slot struct {
	statement
	client *client // the plan that added it
	done   chan struct{}
	value  []byte
	err    error
}

// client is a plan that uses the queue.
type client struct {
	ctx     context.Context //nolint:containedctx // a batch lives as long as one of its plans
	batches sync.WaitGroup  // counts the client's digests that are being signed
}

func newQueue(key *Key) *queue {
	q := &queue{key: key, workers: pipeline.Jobs(key.Workers), memo: map[statement]*slot{}}
	q.work = q.signAll
	return q
}

// add returns a slot for a digest. If the same digest was added before and has not
// failed, that is the slot of the earlier one.
func (q *queue) add(c *client, f ima.Form, h ima.HashID, digest []byte) *slot {
	st := statement{f, h, string(digest)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.memo[st]; s != nil && !s.failed() {
		return s
	}
	s := &slot{statement: st, client: c, done: make(chan struct{})}
	if q.size += 256 + len(digest) + q.key.Public.MaxValueSize(); q.size > memoBytes { // signing twice costs only time
		clear(q.memo)
		q.size = 0
	}
	q.memo[st] = s
	q.pending = append(q.pending, s)
	q.start()
	return s
}

func (s *slot) failed() bool { return s.ready() && s.err != nil }

func (s *slot) ready() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// wait returns the signature of a slot. If another plan added the slot and has failed or
// was cancelled since, wait adds the digest again for c.
func (q *queue) wait(c *client, s *slot) ([]byte, error) {
	for {
		value, err := q.await(c.ctx, s)
		if err == nil || s.client == c || c.ctx.Err() != nil {
			return value, err
		}
		s = q.add(c, s.form, s.hash, []byte(s.digest))
	}
}

func (q *queue) await(ctx context.Context, s *slot) ([]byte, error) {
	if !s.ready() {
		q.addWaiting(1)
		defer q.addWaiting(-1)
	}
	select {
	case <-s.done:
		return s.value, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// addWaiting adds n to the number of waiting callers.
func (q *queue) addWaiting(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting += n
	q.start()
}

// start starts a goroutine for each batch to sign, up to q.workers. The caller holds q.mu.
func (q *queue) start() {
	for left := len(q.pending); q.running < q.workers && q.cuts(left); left -= batchSize {
		q.running++
		go q.work()
	}
}

// cuts reports whether n digests make a batch.
func (q *queue) cuts(n int) bool { return n >= batchSize || n > 0 && q.waiting > 0 }

func (q *queue) signAll() {
	for {
		q.mu.Lock()
		batch := q.cut()
		if batch == nil {
			q.running--
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.sign(batch)
	}
}

// cut removes a batch of one form and hash from the pending digests and returns it. If
// there is less than a full batch, the digests are divided among the idle goroutines, so
// that one goroutine does not sign them all. The caller holds q.mu.
func (q *queue) cut() (batch []*slot) {
	if !q.cuts(len(q.pending)) {
		return nil
	}
	n := batchSize
	if len(q.pending) < batchSize {
		idle := q.workers - q.running + 1
		n = (len(q.pending) + idle - 1) / idle
	}
	first, rest := q.pending[0], q.pending[:0]
	for _, s := range q.pending {
		if len(batch) < n && s.form == first.form && s.hash == first.hash {
			s.client.batches.Add(1)
			batch = append(batch, s)
		} else {
			rest = append(rest, s)
		}
	}
	clear(q.pending[len(rest):])
	q.pending = rest
	return batch
}

func (q *queue) sign(batch []*slot) {
	ctx, stop := wanted(batch)
	defer stop()
	digests := make([][]byte, len(batch))
	for i, s := range batch {
		digests[i] = []byte(s.digest)
	}
	values, err := ima.Sign(ctx, q.key.Signer, q.key.Public, batch[0].form, batch[0].hash, digests)
	if err != nil {
		err = fmt.Errorf("make signatures: %w", err)
	}
	for i, s := range batch {
		c := s.client
		if s.err = err; err == nil {
			s.value, s.client = values[i], nil // otherwise the memo would keep the client alive
		}
		close(s.done)
		c.batches.Done()
	}
}

// wanted returns a context that ends when the contexts of all plans with digests in the
// batch have ended.
func wanted(batch []*slot) (context.Context, func()) {
	clients := map[*client]bool{}
	for _, s := range batch {
		clients[s.client] = true
	}
	if len(clients) == 1 {
		return batch[0].client.ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(batch[0].client.ctx))
	left := make(chan struct{}, len(clients)) // a token for each client except the last to end
	for range len(clients) - 1 {
		left <- struct{}{}
	}
	var stops []func() bool
	for c := range clients {
		stops = append(stops, context.AfterFunc(c.ctx, func() {
			select {
			case <-left:
			default:
				cancel(context.Cause(c.ctx))
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// leave removes a plan's pending digests. Their slots get err. When a plan has left all of
// its queues, no new batch is started for it, so client.batches can be waited for.
func (q *queue) leave(c *client, err error) {
	q.mu.Lock()
	rest := q.pending[:0]
	for _, s := range q.pending {
		if s.client != c {
			rest = append(rest, s)
			continue
		}
		s.err = err
		close(s.done)
	}
	clear(q.pending[len(rest):])
	q.pending = rest
	q.mu.Unlock()
}
