package operate_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// slowKey is a fake of a slow key, in the time of a synctest bubble: it takes a while for each
// call and each digest, and its signatures are not verified.
type slowKey struct {
	perCall, perDigest time.Duration
	calls, digests     atomic.Int64
}

func (s *slowKey) Sign(ctx context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) ([][]byte, error) {
	s.calls.Add(1)
	s.digests.Add(int64(len(digests)))
	time.Sleep(s.perCall + time.Duration(len(digests))*s.perDigest)
	sigs := make([][]byte, len(digests))
	for i := range sigs {
		sigs[i] = []byte("signature")
	}
	return sigs, context.Cause(ctx)
}

func (*slowKey) VerifiesWith(crypto.PublicKey) bool { return true }

// gauge remembers the largest value.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) enter() (leave func()) {
	now := g.now.Add(1)
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
	}
	return func() { g.now.Add(-1) }
}

// packages are units of some stated digests, whose opening, reading and committing take time.
type packages struct {
	files      int
	busy, open gauge
	committed  []int // of those that fail together, which are committed one at a time
	together   bool
}

func (p *packages) work() {
	defer p.busy.enter()()
	time.Sleep(time.Millisecond)
}

func (p *packages) units(n int) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		for i := range n {
			u := operate.Unit{Path: fmt.Sprint(i), Open: func(context.Context) (operate.Opened, error) {
				p.work()
				return operate.Opened{Container: &pack{p, i, p.open.enter()}}, nil
			}}
			if !yield(u, nil) {
				return
			}
		}
	}
}

type pack struct {
	*packages

	nth   int
	leave func()
}

func (p *pack) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for i := range p.files {
			sum := sha256.Sum256(fmt.Append(nil, p.nth, i))
			e := signing.Entry{Path: fmt.Sprint(i), Digests: []signing.Digest{{Hash: ima.SHA256, Sum: sum[:]}}}
			if i == 0 && p.nth%10 == 3 {
				e.DoubleUse = func() (bool, error) {
					p.work()
					return false, nil
				}
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (p *pack) Prepare(context.Context, *signing.Plan) (*signing.Change, error) {
	return &signing.Change{Any: true, Commit: func(context.Context) error {
		if p.work(); p.together {
			p.committed = append(p.committed, p.nth)
		}
		return nil
	}}, nil
}

func (p *pack) Close() error {
	p.leave()
	return nil
}

func slowOperation(t *testing.T, key signing.Key, waiting int) *operate.Operation {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if key.Public, err = ima.BareKey(private.Public()); err != nil {
		t.Fatal(err)
	}
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&key, 0)}, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	return &operate.Operation{Waiting: waiting, Plan: func(ctx context.Context, _ string, src signing.Source) (*signing.Plan, error) {
		return engine.Plan(ctx, src)
	}}
}

// TestUnitsThatWait checks that many units wait for a slow key, so that it is busy and gets
// large batches, while few of them are worked on.
func TestUnitsThatWait(t *testing.T) {
	for name, c := range map[string]struct {
		key             *slowKey
		batch, sessions int
		whole           bool
		n, files        int
		least           int64 // digests a call
	}{
		"a network key":  {&slowKey{perCall: 50 * time.Millisecond}, 1024, 4, true, 5000, 5, 64},
		"eight sessions": {&slowKey{perDigest: 5 * time.Millisecond}, 4, 8, false, 2000, 3, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, p := c.key, &packages{files: c.files}
			op := slowOperation(t, signing.Key{Signer: s, Workers: c.sessions, Batch: c.batch, Whole: c.whole}, 64)
			start := time.Now()
			totals, err := operate.Each(t.Context(), 2, operate.Of(p.units(c.n)), false, op, func(o *operate.Outcome) error { return o.Err })
			took := time.Since(start)
			if err != nil || totals.Counts.Signed != int64(c.n*c.files) || s.digests.Load() != totals.Counts.Signed {
				t.Errorf("%s: %v, %+v", name, err, totals)
			}
			if calls := s.calls.Load(); s.digests.Load()/calls < c.least {
				t.Errorf("%s: %d digests in %d calls", name, s.digests.Load(), calls)
			}
			if ideal := time.Duration(s.digests.Load()) * s.perDigest / time.Duration(c.sessions); ideal > 0 && took > ideal*11/10 {
				t.Errorf("%s: %v instead of %v", name, took, ideal)
			}
			if p.busy.most.Load() != 2 || p.open.most.Load() > 64 || p.open.most.Load() < 32 {
				t.Errorf("%s: %d units were worked on at a time, %d open", name, p.busy.most.Load(), p.open.most.Load())
			}
		})
	}
}

// TestLayersThatWait checks that the digests of several units that fail together are signed at
// the same time, while they are opened and committed one at a time, in their order.
func TestLayersThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &slowKey{perDigest: 500 * time.Millisecond}, &packages{files: 4, together: true}
		op := slowOperation(t, signing.Key{Signer: s, Workers: 16, Batch: 16}, 4)
		start := time.Now()
		totals, err := operate.Each(t.Context(), 1, operate.Of(p.units(20)), true, op, func(*operate.Outcome) error { return nil })
		if took := time.Since(start); err != nil || totals.Counts.Signed != 80 || took > 3*time.Second {
			t.Errorf("%v, %+v in %v", err, totals, took)
		}
		if p.busy.most.Load() != 1 || p.open.most.Load() < 4 || !slices.IsSorted(p.committed) || len(p.committed) != 20 || p.open.now.Load() != 0 {
			t.Errorf("%d units were worked on at a time, %d open; committed: %d", p.busy.most.Load(), p.open.most.Load(), p.committed)
		}
	})
}

// TestUnitsThatWaitEnd cancels a run while many units wait.
func TestUnitsThatWaitEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &slowKey{perDigest: time.Second}, &packages{files: 10}
		op := slowOperation(t, signing.Key{Signer: s, Workers: 1, Batch: 1}, 64)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Second+time.Millisecond, func() { cancel(errInterrupted) })
		totals, err := operate.Each(ctx, 2, operate.Of(p.units(1000)), false, op, func(*operate.Outcome) error { return nil })
		if !errors.Is(err, errInterrupted) || totals.Changed == 0 || totals.Changed > 20 || s.calls.Load() > 100 || p.open.now.Load() != 0 {
			t.Errorf("%v, %+v, %d calls, %d open", err, totals, s.calls.Load(), p.open.now.Load())
		}
	})
}
