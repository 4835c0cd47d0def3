package signing_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

// slow is a fake of a slow key, in the time of a synctest bubble: it takes a while for each
// call and each digest, and its signatures are not verified.
type slow struct {
	perCall, perDigest time.Duration
	calls, digests     atomic.Int64
}

func (s *slow) Sign(ctx context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) ([][]byte, error) {
	s.calls.Add(1)
	s.digests.Add(int64(len(digests)))
	sigs := make([][]byte, len(digests))
	for i := range digests {
		sigs[i] = []byte("signature")
	}
	select {
	case <-time.After(s.perCall + time.Duration(len(digests))*s.perDigest):
		return sigs, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (*slow) VerifiesWith(crypto.PublicKey) bool { return true }

func (k key) slowEngine(t *testing.T, key signing.Key) *signing.Engine {
	return k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&key, 0)}, Jobs: 2})
}

// TestSessionsAreBusy checks that signatures take hardly longer than the key needs for them in
// all of its sessions, for one large container and for many small ones at a time.
func TestSessionsAreBusy(t *testing.T) {
	k := newKey(t)
	for _, sessions := range []int{1, 4, 8} {
		for name, containers := range map[string]struct{ n, files, atATime, batch int }{
			"a tree": {1, 6000, 1, 4}, "packages": {210, 30, 32, 4}, "small packages": {1000, 3, 32, 4},
			"one small package": {1, 40 * sessions, 1, 4}, "not much more than a batch each": {1, 21 * sessions, 1, 16}, "less than a batch": {1, 3 * sessions, 1, 128},
		} {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{perDigest: 5 * time.Millisecond}
				e := k.slowEngine(t, signing.Key{Signer: s, Workers: sessions, Batch: containers.batch})
				start := time.Now()
				planMany(t, e, containers.n, containers.files, containers.atATime)
				took, ideal := time.Since(start), time.Duration(containers.n*containers.files)*s.perDigest/time.Duration(sessions)
				if s.digests.Load() != int64(containers.n*containers.files) || took > ideal*11/10 {
					t.Errorf("%s, %d sessions: %v for %d signatures, %v if all sessions are busy", name, sessions, took, s.digests.Load(), ideal)
				}
			})
		}
	}
}

// TestSessionsDoNotWaitForCaches checks that a key signs while its signatures are stored, and
// that the signatures of several calls are stored together.
func TestSessionsDoNotWaitForCaches(t *testing.T) {
	k := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		var puts int
		c := newCache()
		c.put = func(_ context.Context, _ signing.Batch, kept [][]byte) [][]byte {
			puts++
			time.Sleep(50 * time.Millisecond)
			return kept
		}
		const files, sessions = 6000, 4
		s := &slow{perDigest: 5 * time.Millisecond}
		e := k.slowEngine(t, signing.Key{Signer: s, Workers: sessions, Batch: 4, Caches: []signing.Cache{c}})
		start := time.Now()
		planMany(t, e, 1, files, 1)
		took, ideal := time.Since(start), files*s.perDigest/sessions
		if took > ideal*11/10 || puts > files/16 || c.size() != files {
			t.Errorf("%v instead of %v; %d signatures stored in %d calls", took, ideal, c.size(), puts)
		}
	})
}

// TestBatchesOfANetworkKey checks that a key that takes whole batches gets large ones.
func TestBatchesOfANetworkKey(t *testing.T) {
	k := newKey(t)
	for name, containers := range map[string]struct{ n, files, atATime, least int }{
		"packages": {1000, 5, 32, 64}, "a tree": {1, 20000, 1, 512},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &slow{perCall: 20 * time.Millisecond}
			e := k.slowEngine(t, signing.Key{Signer: s, Workers: 4, Batch: 1024, Whole: true})
			planMany(t, e, containers.n, containers.files, containers.atATime)
			all, calls := s.digests.Load(), s.calls.Load()
			if all != int64(containers.n*containers.files) || all/calls < int64(containers.least) {
				t.Errorf("%s: %d digests in %d calls", name, all, calls)
			}
		})
	}
}

// TestFewDigestsWait checks that small containers that come one after the other are signed
// together by a network key, even if it is fast.
func TestFewDigestsWait(t *testing.T) {
	k := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		const n, files = 640, 5
		s := &slow{perCall: time.Millisecond}
		e := k.slowEngine(t, signing.Key{Signer: s, Workers: 4, Batch: 1024, Whole: true})
		var g errgroup.Group
		g.SetLimit(64)
		for i := range n {
			time.Sleep(time.Millisecond) // it is being read
			g.Go(func() error {
				var list []signing.Entry
				for j := range files {
					list = append(list, stated(fmt.Sprint(j), ima.SHA256, fmt.Sprint(i, j)))
				}
				p, err := e.Plan(t.Context(), source(list...))
				if err != nil {
					return err
				}
				return p.Close()
			})
		}
		if err := g.Wait(); err != nil || s.digests.Load() != n*files || s.digests.Load()/s.calls.Load() < 60 {
			t.Errorf("%d digests in %d calls, %v", s.digests.Load(), s.calls.Load(), err)
		}
	})
}

// TestBatchesWaitForCaches checks that no part of what a network key could sign at once is
// signed while caches are still asked for the rest.
func TestBatchesWaitForCaches(t *testing.T) {
	k := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		c := newCache()
		c.get = func(_ context.Context, _ signing.Batch, found [][]byte) [][]byte {
			time.Sleep(time.Duration(asked.Add(1)) * time.Millisecond)
			return found
		}
		s := &slow{perCall: 20 * time.Millisecond}
		e := k.slowEngine(t, signing.Key{Signer: s, Batch: 1024, Whole: true, Caches: []signing.Cache{c}})
		planMany(t, e, 1, 1000, 1)
		if s.calls.Load() != 1 || asked.Load() < 4 {
			t.Errorf("%d calls of the key, %d of the cache", s.calls.Load(), asked.Load())
		}
	})
}

// planMany plans n containers of distinct files, some at a time.
func planMany(t *testing.T, e *signing.Engine, n, files, atATime int) {
	var g errgroup.Group
	g.SetLimit(atATime)
	for i := range n {
		g.Go(func() error {
			var list []signing.Entry
			for j := range files {
				list = append(list, stated(fmt.Sprint(j), ima.SHA256, fmt.Sprint(i, j)))
			}
			p, err := e.Plan(t.Context(), source(list...))
			if err != nil {
				return err
			}
			return p.Close()
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestPlansEndInAnyOrder makes many plans of common files at once, some of which are cancelled
// or fail at any moment, with keys and caches of every kind. A bubble of synctest fails if
// nothing can go on.
func TestPlansEndInAnyOrder(t *testing.T) {
	k := newKey(t)
	runs := 30
	if harness.Nightly() {
		runs = 2000
	}
	for range runs {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			w := &weather{key: k, rnd: rand.New(rand.NewPCG(seed, 0))}
			w.run(t)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

// weather makes everything slow and unreliable, but for the plans whose fate is to succeed.
type weather struct {
	key  key
	mu   sync.Mutex
	rnd  *rand.Rand
	need int64 // by the events Needed, less those of Made
}

func (w *weather) n(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

// wait waits for up to 20 ms, or for the end of ctx.
func (w *weather) wait(ctx context.Context) {
	select {
	case <-time.After(time.Duration(w.n(20)) * time.Millisecond):
	case <-ctx.Done():
	}
}

func (w *weather) Sign(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	w.wait(ctx)
	if ctx.Err() != nil && w.n(2) == 0 { // or the signatures were just made
		return nil, context.Cause(ctx)
	}
	return w.key.signer().Sign(ctx, f, h, digests)
}

func (w *weather) cache() signing.Cache {
	c := newCache()
	c.get = func(ctx context.Context, _ signing.Batch, found [][]byte) [][]byte {
		w.wait(ctx)
		switch w.n(8) {
		case 0:
			return nil
		case 1:
			return found[:w.n(len(found))]
		case 2:
			<-ctx.Done()
			return nil
		case 3, 4:
			found[w.n(len(found))] = []byte("poison")
		}
		return found
	}
	c.put = func(ctx context.Context, _ signing.Batch, kept [][]byte) [][]byte {
		w.wait(ctx)
		return kept
	}
	return c
}

func (w *weather) run(t *testing.T) {
	key := &signing.Key{Signer: w, Public: w.key.public, Workers: 1 + w.n(4), Batch: []int{1, 3, 16, 0, 300}[w.n(5)], Whole: w.n(3) == 0}
	patient := true // no cache blocks until its plans are cancelled
	for range w.n(3) {
		key.Caches = append(key.Caches, w.cache())
		patient = false
	}
	stages := []signing.Stage{signing.ContentStage(key, 0)}
	if w.n(2) == 0 {
		stages = append(stages, toyStage(key))
	}
	e := engine(t, signing.Options{Stages: stages, Jobs: 1 + w.n(4), Observe: signing.NewObserver(func(ev signing.Event) {
		switch ev.Kind {
		case signing.Needed:
			w.need += ev.Entries
		case signing.Made:
			w.need -= ev.Entries
		}
	})})
	var g errgroup.Group
	for range 1 + w.n(10) {
		fate, limit := w.n(3), time.Hour
		if fate == 1 || !patient {
			limit = time.Duration(w.n(200)) * time.Millisecond
		}
		g.Go(func() error { return w.plan(e, fate == 2, limit, patient && fate == 0) })
		w.wait(t.Context())
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if w.need != 0 {
		t.Errorf("%d signatures are said to be needed at the end", w.need)
	}
}

// plan plans some of 300 files. fails makes one of them unreadable. The error is about what
// must not happen.
func (w *weather) plan(e *signing.Engine, fails bool, limit time.Duration, must bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var list []signing.Entry
	for i := range 1 + w.n(200) {
		list = append(list, file(fmt.Sprintf("f%03d", i), fmt.Sprint("content ", w.n(300))))
	}
	if fails {
		list[w.n(len(list))] = failing("bad", errBroken)
	}
	p, err := e.Plan(ctx, source(list...))
	if err != nil {
		if must || !errors.Is(err, errBroken) && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("planned to succeed: %v, %w", must, err)
		}
		return nil
	}
	defer p.Close()
	if fails {
		return errors.New("an unreadable file was planned")
	}
	for r, err := range p.Records() {
		if err != nil {
			return err
		}
		if err := w.key.verify(r.Final(ima.XattrIMA), r.Digests[0].Hash, r.Digests[0].Sum); err != nil {
			return fmt.Errorf("%s: %w", r.Path, err)
		}
	}
	return nil
}
