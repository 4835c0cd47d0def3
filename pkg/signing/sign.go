package signing

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/ima"
)

// batchSize is how many digests go to the signer at a time: what makes a call
// into libcrypto, an HSM or another machine worth its cost.
const batchSize = 128

// maxMemo bounds how many signatures a run remembers: 65,536 of RSA-2048 take
// about 30 MB.
const maxMemo = 1 << 16

// slot is a signature to come. Whoever holds one waits for done and then reads
// value or err.
type slot struct {
	hash   ima.HashID
	digest []byte
	owner  *batcher // of the plan that settles it
	done   chan struct{}
	value  []byte
	err    error
}

func (s *slot) settle(value []byte, err error) {
	s.value, s.err = value, err
	close(s.done)
}

// memo has each distinct digest signed once. When it is full it starts anew:
// signing a digest twice costs time, not correctness.
type memo struct {
	mu    sync.Mutex
	slots map[string]*slot
}

func newMemo() *memo { return &memo{slots: map[string]*slot{}} }

// slot returns the digest's slot and whether it is new, for owner to settle.
func (m *memo) slot(owner *batcher, h ima.HashID, digest []byte) (*slot, bool) {
	key := string(append([]byte{byte(h)}, digest...))
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.slots[key]; s != nil && !s.failed() {
		return s, false
	}
	if len(m.slots) >= maxMemo {
		clear(m.slots)
	}
	s := &slot{hash: h, digest: digest, owner: owner, done: make(chan struct{})}
	m.slots[key] = s
	return s, true
}

func (s *slot) failed() bool {
	select {
	case <-s.done:
		return s.err != nil
	default:
		return false
	}
}

// batcher collects slots into batches and has them signed by several goroutines.
type batcher struct {
	engine  *Engine
	pending []*slot
	batches chan []*slot
}

func (e *Engine) startSigners(ctx context.Context, g *errgroup.Group) *batcher {
	b := &batcher{engine: e, batches: make(chan []*slot)}
	for range e.signers {
		g.Go(func() error {
			for batch := range b.batches {
				if err := e.signBatch(ctx, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return b
}

// add takes a new slot; batches hold one hash algorithm each.
func (b *batcher) add(ctx context.Context, s *slot) error {
	if len(b.pending) > 0 && b.pending[0].hash != s.hash {
		if err := b.flush(ctx); err != nil {
			s.settle(nil, err)
			return err
		}
	}
	if b.pending = append(b.pending, s); len(b.pending) < batchSize {
		return nil
	}
	batch := b.pending
	b.pending = nil
	return b.send(ctx, batch)
}

// flush sends what is pending, an equal part to each signing goroutine: the last
// signatures of a plan are nobody's to wait for alone.
func (b *batcher) flush(ctx context.Context) error {
	pending := b.pending
	if b.pending = nil; len(pending) == 0 {
		return nil
	}
	part := (len(pending) + b.engine.signers - 1) / b.engine.signers
	var failed error
	for batch := range slices.Chunk(pending, part) {
		if failed != nil { // other plans may wait for these
			_ = fail(batch, failed)
			continue
		}
		failed = b.send(ctx, batch)
	}
	return failed
}

func (b *batcher) send(ctx context.Context, batch []*slot) error {
	select {
	case b.batches <- batch:
		return nil
	case <-ctx.Done():
		return fail(batch, context.Cause(ctx))
	}
}

// close ends the signing goroutines; slots that never became a batch fail with err.
func (b *batcher) close(err error) {
	_ = fail(b.pending, err)
	close(b.batches)
}

func (e *Engine) signBatch(ctx context.Context, batch []*slot) error {
	digests := make([][]byte, len(batch))
	for i, s := range batch {
		digests[i] = s.digest
	}
	values, err := ima.Sign(ctx, e.signer, e.public, batch[0].hash, digests)
	if err != nil {
		return fail(batch, fmt.Errorf("make signatures: %w", err))
	}
	for i, s := range batch {
		s.settle(values[i], nil)
	}
	return nil
}

func fail(batch []*slot, err error) error {
	for _, s := range batch {
		s.settle(nil, err)
	}
	return err
}
