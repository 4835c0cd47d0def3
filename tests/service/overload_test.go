package service

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestOverload asks for six times as many batches as the server can sign. It refuses the rest at once, so
// that what it signs is not signed in vain: clients wait five seconds if there is another server.
func TestOverload(t *testing.T) {
	nightly(t)
	s := started(t, harness.Keys(t, "rsa4096"))
	w := s.wire(s.own())
	const size = 64
	rate := w.capacity(size)
	t.Logf("%.1f batches a second", rate)
	signed, lost := s.metric("imasign_batches_total"), s.metric("imasign_answers_lost_total")
	var got, refused, other atomic.Int64
	var requests sync.WaitGroup
	ticker := time.NewTicker(time.Duration(float64(time.Second) / (6 * rate)))
	defer ticker.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-ticker.C {
		requests.Go(func() {
			switch r := w.within(5*time.Second, w.request(size)); {
			case r.answer != nil:
				got.Add(1)
			case r.refusal != nil && r.refusal.Code == protocol.Busy && r.again != "":
				refused.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	requests.Wait()
	s.await("the queue is empty", func() bool { return s.metric("imasign_queue_batches") == 0 })
	signed, lost = s.metric("imasign_batches_total")-signed, s.metric("imasign_answers_lost_total")-lost
	t.Logf("%v batches signed, %d answered, %d refused, %d without an answer, %v lost", signed, got.Load(), refused.Load(), other.Load(), lost)
	if float64(got.Load()) < 0.95*signed || refused.Load() < 2*got.Load() {
		t.Error("batches were signed in vain, or it was no overload")
	}
	s.slim()
}

// capacity returns how many batches a second the server signs.
func (w *wire) capacity(size int) float64 {
	w.Helper()
	var workers sync.WaitGroup
	var n atomic.Int64
	begin := time.Now()
	for range 4 {
		workers.Go(func() {
			for time.Since(begin) < 8*time.Second {
				w.is(w.ask(w.request(size)), "")
				n.Add(1)
			}
		})
	}
	workers.Wait()
	return float64(n.Load()) / time.Since(begin).Seconds()
}

// within asks, and gives up after a time.
func (w *wire) within(limit time.Duration, r *protocol.Request) reply {
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	return w.send(ctx, seal(w, r, w.who.key))
}
