package signing

import (
	"context"
	"fmt"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

// start starts a goroutine for each batch, up to the numbers that work at the same time. The
// caller holds q.mu.
func (q *queue) start() {
	for left := len(q.unasked); q.asking < q.askers && q.asks(left); left -= batchSize {
		q.asking++
		go q.ask()
	}
	for left := len(q.pending); q.running < q.workers && q.signs(left, q.running); {
		left -= q.share(left, q.workers-q.running)
		q.running++
		go q.work()
	}
}

// asks reports whether n digests make a batch to look for.
func (q *queue) asks(n int) bool { return n >= batchSize || n > 0 && q.waiting > 0 }

// signs reports whether n digests make a batch to sign, while others goroutines sign. Less
// than a full batch is signed only if a plan waits, and if no cache can add to it.
func (q *queue) signs(n, others int) bool {
	if n >= q.size {
		return true
	}
	searched := len(q.unasked) == 0 && q.asking == 0
	switch {
	case n == 0 || q.waiting == 0 || !searched:
		return false
	case q.key.Whole:
		return others == 0 && (n >= enough || q.ripe())
	}
	return true
}

// A batch of less than enough digests, for a key that takes about as long for many, is signed
// after linger: small packages, each of which waits for its own few signatures, come together.
const (
	enough = 64
	linger = 20 * time.Millisecond
)

// ripe reports whether a batch has waited long enough for more digests. If not, the batch is
// looked at again when it has. The caller holds q.mu.
func (q *queue) ripe() bool {
	if q.since.IsZero() {
		q.since = time.Now()
		time.AfterFunc(linger, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.start()
		})
	}
	return time.Since(q.since) >= linger
}

func (q *queue) askAll() {
	for {
		q.mu.Lock()
		if !q.asks(len(q.unasked)) {
			q.asking--
			q.start()
			q.mu.Unlock()
			return
		}
		batch := take(&q.unasked, batchSize)
		q.mu.Unlock()
		q.found(batch, q.recall(batch))
	}
}

// found moves the slots of a batch that no cache had to those that must be signed.
func (q *queue) found(batch, missing []*slot) {
	clients := make([]*client, len(batch))
	for i, s := range batch {
		clients[i] = s.client
	}
	q.mu.Lock()
	var needed []*slot
	for _, s := range missing {
		if s.err = context.Cause(s.client.ctx); s.err != nil { // it has left, or will leave
			close(s.done)
			continue
		}
		needed = append(needed, s)
	}
	if needed != nil {
		q.need(needed...)
		q.start()
	}
	q.mu.Unlock()
	for i, c := range clients {
		if batch[i].cached {
			batch[i].client, batch[i].claim = nil, ima.Claim{} // otherwise the memo would keep them alive
		}
		c.batches.Done()
	}
}

func (q *queue) signAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.signs(len(q.pending), q.running-1) {
		batch := take(&q.pending, q.share(len(q.pending), q.workers-q.busy))
		q.since = time.Time{}
		q.busy++
		q.mu.Unlock()
		q.sign(batch)
		q.mu.Lock()
		q.busy--
	}
	q.running--
}

// share returns the size of the next batch of n digests to sign. If a plan waits, the digests
// are divided among the goroutines that sign nothing yet, so that one of them does not work on
// them all. With a key that has a batch size of its own, which takes long for each digest, they
// are always divided among all goroutines, so that the last batches end at about the same time.
func (q *queue) share(n, idle int) int {
	switch {
	case q.key.Whole:
	case q.key.Batch > 0:
		n = (n + q.workers - 1) / q.workers
	case q.waiting > 0:
		n = (n + idle - 1) / idle
	}
	return min(n, q.size)
}

// take removes a batch of up to n digests from a list and returns it. Their plans wait for it.
func take(list *[]*slot, n int) []*slot {
	batch := part(list, n)
	for _, s := range batch {
		s.client.batches.Add(1)
	}
	return batch
}

// part removes up to n slots of one form and hash from a list and returns them.
func part(list *[]*slot, n int) (batch []*slot) {
	first, rest := (*list)[0], (*list)[:0]
	for _, s := range *list {
		if len(batch) < n && s.form == first.form && s.hash == first.hash {
			batch = append(batch, s)
		} else {
			rest = append(rest, s)
		}
	}
	clear((*list)[len(rest):])
	*list = rest
	return batch
}

func (q *queue) sign(slots []*slot) {
	ctx, stop := wanted(slots)
	defer stop()
	b := q.batchOf(slots)
	values, err := ima.Sign(ctx, ima.WithClaims(q.key.Signer, claimsOf(slots)), b.Key, b.Form, b.Hash, b.Digests)
	if err != nil {
		q.finish(slots, fmt.Errorf("make signatures: %w", err))
		return
	}
	for i, s := range slots {
		s.value = values[i]
	}
	if len(q.caches) > 0 {
		q.keep(slots)
		return
	}
	q.finish(slots, nil)
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
