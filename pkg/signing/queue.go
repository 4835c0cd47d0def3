package signing

import (
	"context"
	"fmt"
	"sync"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/ima"
)

// batchSize is how many digests go to a signer at a time: what makes a call into
// libcrypto, an HSM or another machine worth its cost.
const batchSize = 128

// memoBytes bounds what the signatures take that a queue remembers.
const memoBytes = 8 << 20

// queue is a key's, shared by all plans of an Engine: digests in, signatures out. It
// cuts a batch when there is a full one, or when somebody waits. Its goroutines exist
// while there is work, so it needs no closing.
type queue struct {
	key     *Key
	workers int
	work    func() // signs while there are batches, on a goroutine of its own

	mu      sync.Mutex
	pending []*slot
	waiting int // callers of wait
	running int // goroutines that sign
	memo    map[statement]*slot
	size    int // of memo, in bytes
}

// statement is what is signed once: the key of the memo.
type statement struct {
	form   ima.Form
	hash   ima.HashID
	digest string
}

// slot is a signature to come. Whoever holds one waits for done, and then reads value
// or err.
type slot struct {
	statement
	client *client // of the plan that added it
	done   chan struct{}
	value  []byte
	err    error
}

// client is a plan as the queue knows it.
type client struct {
	ctx     context.Context //nolint:containedctx // a batch lives as long as one of its plans
	batches sync.WaitGroup  // that are being signed and have its digests
}

func newQueue(key *Key) *queue {
	q := &queue{key: key, workers: pipeline.Jobs(key.Workers), memo: map[statement]*slot{}}
	q.work = q.signAll
	return q
}

// add returns the slot of a digest: that of an earlier one where it is, or is about to
// be, signed already.
func (q *queue) add(c *client, f ima.Form, h ima.HashID, digest []byte) *slot {
	st := statement{f, h, string(digest)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.memo[st]; s != nil && !s.failed() {
		return s
	}
	s := &slot{statement: st, client: c, done: make(chan struct{})}
	if q.size += 256 + len(digest) + q.key.Public.MaxValueSize(); q.size > memoBytes { // signing twice costs time, nothing else
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

// wait returns the signature of a slot. Where another plan added it and has failed or
// was cancelled since, the digest is added again, by c.
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
		q.wish(1)
		defer q.wish(-1)
	}
	select {
	case <-s.done:
		return s.value, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wish says that a caller more, or less, waits.
func (q *queue) wish(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting += n
	q.start()
}

// start starts as many goroutines as there are batches to sign; q is locked.
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

// cut takes a batch of one form and hash out of what is pending; q is locked. What is
// less than a full one is shared among the goroutines, so that nobody waits for one of
// them alone.
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
			s.value, s.client = values[i], nil // which the memo would keep alive
		}
		close(s.done)
		c.batches.Done()
	}
}

// wanted returns a context that ends when all plans have ended that the batch is for.
func wanted(batch []*slot) (context.Context, func()) {
	clients := map[*client]bool{}
	for _, s := range batch {
		clients[s.client] = true
	}
	if len(clients) == 1 {
		return batch[0].client.ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(batch[0].client.ctx))
	left := make(chan struct{}, len(clients)) // a token for each but the last to end
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

// leave takes out what a plan has pending, for err. When a plan has left all of its
// queues, no batch is begun for it any more, and the ones that are being signed can be
// waited for.
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
