package signing

import (
	"context"
	"sync"
	"time"

	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/ima"
)

// batchSize is the number of digests that a signer gets at a time, unless its key states
// another one. It is large enough to make a call into libcrypto worth its cost.
const batchSize = 128

// memoBytes limits the memory for the signatures that a queue remembers.
const memoBytes = 8 << 20

// queue signs digests with one key, for all plans of an Engine. It first looks for their
// signatures in the caches. It takes a batch when the batch is full, or when a plan waits for
// a signature. Its goroutines exist only while there is work, so it need not be closed.
type queue struct {
	key     *Key
	workers int // number of batches that are signed at the same time
	size    int // number of digests in a full batch
	askers  int // number of batches that are looked for in the caches at the same time
	caches  []Cache
	observe Observer
	rsa     func() *libcrypto.Verifier // for signatures from the caches
	ask     func()                     // looks for batches until none is left; runs on its own goroutine
	work    func()                     // signs batches until none is left; runs on its own goroutine

	mu      sync.Mutex
	unasked []*slot   // to be looked for in the caches
	pending []*slot   // to be signed
	made    []*slot   // signed, to be stored in the caches
	waiting int       // number of callers that wait for a signature
	asking  int       // number of goroutines that look in the caches
	running int       // number of goroutines that sign, or are about to
	busy    int       // number of them that have a batch
	since   time.Time // when a batch began to wait for more digests; zero if none does
	storing bool      // a goroutine stores what was made
	memo    map[statement]*slot
	used    int // by the memo, in bytes
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
	client  *client // the plan that added it
	claim   ima.Claim
	refused [][]byte // signatures from the caches that are not valid; nil if there is none
	done    chan struct{}
	value   []byte
	cached  bool // value was not made in this run
	err     error
}

// client is a plan that uses the queue.
type client struct {
	ctx     context.Context //nolint:containedctx // a batch lives as long as one of its plans
	batches sync.WaitGroup  // counts the client's digests that are looked for or being signed
}

func newQueue(key *Key, jobs int, observe Observer) *queue {
	q := &queue{key: key, workers: pipeline.Jobs(key.Workers), size: batchSize, askers: pipeline.Jobs(jobs), caches: key.Caches, observe: observe, rsa: rsaVerifier(key.Public), memo: map[statement]*slot{}}
	if key.Batch > 0 {
		q.size = key.Batch
	}
	q.ask, q.work = q.askAll, q.signAll
	return q
}

// ahead returns how many entries a plan has on the way, so that all goroutines that sign have
// work while the plan waits for the slowest of their batches. Entries that need no signature
// are among them. Small batches take about as long as looking for signatures and storing them,
// so more of them are on the way.
func (q *queue) ahead() int {
	batches := 2 * (q.workers + 1)
	if q.size < batchSize {
		batches *= 5
	}
	return batches * q.size
}

// add returns a slot for a digest. If the same digest was added before and has not
// failed, that is the slot of the earlier one.
func (q *queue) add(c *client, claim ima.Claim, f ima.Form, h ima.HashID, digest []byte) *slot {
	st := statement{f, h, string(digest)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.memo[st]; s != nil && !s.failed() {
		return s
	}
	s := &slot{statement: st, client: c, claim: claim, done: make(chan struct{})}
	if q.used += 256 + len(digest) + q.key.Public.MaxValueSize(); q.used > memoBytes { // signing twice costs only time
		clear(q.memo)
		q.used = 0
	}
	q.memo[st] = s
	if len(q.caches) > 0 {
		q.unasked = append(q.unasked, s)
	} else {
		q.need(s)
	}
	q.start()
	return s
}

// need adds slots whose signatures must be made. The caller holds q.mu.
func (q *queue) need(slots ...*slot) {
	q.pending = append(q.pending, slots...)
	q.observe.Tell(Event{Kind: Needed, Entries: int64(len(slots))})
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

// wait waits for the signature of a slot. If another plan added the slot and has failed or
// was cancelled since, wait adds the digest again for c. It returns the slot with the
// signature.
func (q *queue) wait(c *client, s *slot) (*slot, error) {
	for {
		err := q.await(c.ctx, s)
		if err == nil || c.ctx.Err() != nil || s.client == c {
			return s, err
		}
		s = q.add(c, s.claim, s.form, s.hash, []byte(s.digest))
	}
}

func (q *queue) await(ctx context.Context, s *slot) error {
	if !s.ready() {
		q.addWaiting(1)
		defer q.addWaiting(-1)
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// addWaiting adds n to the number of waiting callers.
func (q *queue) addWaiting(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting += n
	q.start()
}

// leave removes a plan's digests for which no work has begun. Their slots get err. When a plan
// has left all of its queues, no new batch is started for it, so client.batches can be waited
// for. The client's context has ended.
func (q *queue) leave(c *client, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	drop(&q.unasked, c, err)
	if n := drop(&q.pending, c, err); n > 0 {
		q.observe.Tell(Event{Kind: Needed, Entries: -int64(n)})
	}
}

// drop removes a plan's slots from a list, ends them with err, and returns their number.
func drop(list *[]*slot, c *client, err error) int {
	all, rest := *list, (*list)[:0]
	for _, s := range all {
		if s.client != c {
			rest = append(rest, s)
			continue
		}
		s.err = err
		close(s.done)
	}
	clear(all[len(rest):])
	*list = rest
	return len(all) - len(rest)
}
