package signing

import "github.com/imasign/imasign-build/pkg/ima"

// keep stores new signatures in the caches, on a goroutine of its own. The one that signs takes
// its next batch meanwhile, so that no session of a token waits for a disk. Batches that come
// while others are stored are stored together.
func (q *queue) keep(slots []*slot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.made = append(q.made, slots...)
	if !q.storing {
		q.storing = true
		go q.keepAll()
	}
}

func (q *queue) keepAll() {
	for {
		q.mu.Lock()
		if len(q.made) == 0 {
			q.storing = false
			q.mu.Unlock()
			return
		}
		batch := part(&q.made, batchSize)
		q.mu.Unlock()
		q.store(batch[0].client.ctx, q.caches, batch)
		q.finish(batch, nil)
	}
}

// finish ends slots with their values, or with an error.
func (q *queue) finish(slots []*slot, err error) {
	if err != nil {
		q.observe.Tell(Event{Kind: Needed, Entries: -int64(len(slots))})
	} else {
		q.observe.Tell(Event{Kind: Made, Entries: int64(len(slots))})
	}
	for _, s := range slots {
		c := s.client
		if s.err = err; err == nil {
			s.client, s.claim, s.refused = nil, ima.Claim{}, nil // otherwise the memo would keep them alive
		}
		close(s.done)
		c.batches.Done()
	}
}
