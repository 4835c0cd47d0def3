package signd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// recording notes the sizes of calls and signs by copying.
type recording struct {
	mu    sync.Mutex
	sizes []int
	gate  chan struct{}
}

func (r *recording) sign(ctx context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) ([][]byte, error) {
	r.mu.Lock()
	r.sizes = append(r.sizes, len(digests))
	r.mu.Unlock()
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return slices.Clone(digests), nil
}

func numbers(n int) (list [][]byte) {
	for i := range n {
		list = append(list, fmt.Append(nil, i))
	}
	return list
}

// TestABatchUsesEveryWorker checks how batches are divided, and that their order is kept.
func TestABatchUsesEveryWorker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ workers, chunk, n, calls, largest int }{
		{2, 0, 256, 2, 128}, {4, 0, 256, 4, 64}, {2, 0, 1024, 8, 128}, {16, 0, 256, 16, 16}, {64, 0, 256, 32, 8}, {1, 1, 5, 5, 1}, {5, 16, 100, 7, 16}, {2, 0, 1, 1, 1},
	} {
		r := &recording{gate: make(chan struct{})}
		q := queue{sign: r.sign, workers: c.workers, chunk: c.chunk}
		if refusal, _ := q.admit("a", c.n); refusal != nil {
			t.Fatal(refusal)
		}
		go func() {
			eventually(t, func() bool { // all workers begin before any ends
				r.mu.Lock()
				defer r.mu.Unlock()
				return len(r.sizes) >= min(c.workers, c.calls)
			})
			close(r.gate)
		}()
		values, err := q.do(t.Context(), "a", ima.ContentSignature(), ima.SHA256, numbers(c.n))
		check(t, err)
		if !slices.EqualFunc(values, numbers(c.n), bytes.Equal) {
			t.Error("another order")
		}
		if len(r.sizes) != c.calls || slices.Max(r.sizes) != c.largest {
			t.Errorf("%+v: calls with %v digests", c, r.sizes)
		}
		if batches, digests := q.length(); batches != 0 || digests != 0 {
			t.Errorf("%d batches, %d digests are left", batches, digests)
		}
	}
}

// TestABatchThatFails drops what no worker has begun.
func TestABatchThatFails(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	calls := 0
	q := queue{workers: 1, sign: func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) { calls++; return nil, wrong }}
	if refusal, _ := q.admit("a", 1000); refusal != nil {
		t.Fatal(refusal)
	}
	if _, err := q.do(t.Context(), "a", ima.ContentSignature(), ima.SHA256, numbers(1000)); !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
	batches, digests := q.length()
	if calls != 1 || batches != 0 || digests != 0 {
		t.Errorf("%d calls; %d batches, %d digests are left", calls, batches, digests)
	}
}

// TestABatchWhoseClientIsGone is not signed, and the next one is.
func TestABatchWhoseClientIsGone(t *testing.T) {
	t.Parallel()
	r := &recording{gate: make(chan struct{})}
	q := queue{sign: r.sign, workers: 1}
	first, second := make(chan error, 1), make(chan error, 1)
	do := func(ctx context.Context, n int, ended chan error) {
		if refusal, _ := q.admit("a", n); refusal != nil {
			t.Error(refusal)
		}
		go func() {
			_, err := q.do(ctx, "a", ima.ContentSignature(), ima.SHA256, numbers(n))
			ended <- err
		}()
	}
	do(t.Context(), 5, first)
	eventually(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.sizes) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	do(ctx, 7, second)
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.gate <- struct{}{}
	check(t, <-first)
	do(t.Context(), 9, first)
	r.gate <- struct{}{}
	check(t, <-first)
	if want := []int{5, 9}; !slices.Equal(r.sizes, want) {
		t.Errorf("signed %v", r.sizes)
	}
}

// TestBusy fills the queue of a key: further batches are refused at once, and those that wait are signed.
func TestBusy(t *testing.T) {
	t.Parallel()
	private := ecKey(t)
	slow := &slowKey{RawSigner: ima.CryptoSigner(private)}
	s := start(t, keyOf(t, "image", private, slow, func(k *keystore.Key) { k.Parallelism, k.Batch = 1, 1 }))
	gate := make(chan struct{})
	slow.set(gate, nil)
	s.key.queue.cost = time.Second // as of a TPM
	const waiting = 3
	ended := make(chan error, waiting)
	for range waiting {
		go func() {
			_, err := s.ci.ask(t, s.ci.request(s.address, 1))
			ended <- err
		}()
	}
	eventually(t, func() bool {
		select {
		case err := <-ended:
			t.Error(err)
		default:
		}
		n, _ := s.key.queue.length()
		return n == waiting
	})
	s.key.queue.mu.Lock()
	s.key.queue.waiting += 3 // digests of a larger batch
	s.key.queue.each["ci"].waiting += 3
	s.key.queue.mu.Unlock()
	_, reply, err := s.ci.post(bytes.NewReader(s.ci.seal(t, s.ci.request(s.address, 1))))
	refused(t, err, protocol.Busy, "wait for the key")
	if reply.status != http.StatusTooManyRequests || reply.after < "5" {
		t.Errorf("got %+v", reply)
	}
	// It was refused before it was read, so no record names a requester. A batch that is judged while the queue
	// fills up has a record.
	if refusal, _ := s.key.queue.admit("ci", 1); refusal == nil || len(s.log.all()) != 0 {
		t.Errorf("got %v, %d records", refusal, len(s.log.all()))
	}
	close(gate)
	for range waiting {
		check(t, <-ended)
	}
}

// TestAKeyThatGoesAway is opened again, later and later; meanwhile requests are refused.
func TestAKeyThatGoesAway(t *testing.T) {
	t.Parallel()
	private := ecKey(t)
	slow := &slowKey{RawSigner: ima.CryptoSigner(private)}
	opened, closed := 0, 0
	s := start(t, keyOf(t, "image", private, slow, func(k *keystore.Key) {
		opened++
		k.Release = func() error { closed++; return nil }
	}))
	slow.set(nil, fmt.Errorf("slot 7 of /usr/lib/module.so: %w", keystore.ErrGone))
	_, reply, err := s.ci.post(bytes.NewReader(s.ci.seal(t, s.ci.request(s.address, 10))))
	refused(t, err, protocol.KeyFailed, "does not answer")
	if reply.after != "1" || closed != 1 {
		t.Errorf("got %+v, closed %d times", reply, closed)
	}
	if why := s.Unready(); why != "no key can sign" {
		t.Errorf("ready, %q", why)
	}
	_, err = s.ci.ask(t, s.ci.request(s.address, 1)) // too early
	refused(t, err, protocol.KeyFailed, "")
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	slow.set(nil, nil)
	s.key.mu.Lock()
	s.key.retry = time.Now()
	s.key.mu.Unlock()
	_, err = s.ci.ask(t, s.ci.request(s.address, 10))
	check(t, err)
	if opened != 2 || s.Unready() != "" {
		t.Errorf("opened %d times; %q", opened, s.Unready())
	}
}

// TestAWrongPINIsNotTriedAgain checks that no token is locked by a service that reopens its key.
func TestAWrongPINIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	private := ecKey(t)
	opened := 0
	var fault error
	key, err := OpenKey(t.Context(), "image", func(context.Context) (*keystore.Key, error) {
		opened++
		public, _ := ima.BareKey(private.Public())
		return keystore.NewKey(ima.CryptoSigner(private), public), fault
	})
	check(t, err)
	fault = fmt.Errorf("token T: %w", keystore.ErrWrongPIN)
	lose(t, key)
	for range 3 {
		key.mu.Lock()
		if !key.retry.IsZero() {
			key.retry = time.Now()
		}
		key.mu.Unlock()
		if refusal := key.usable(t.Context()); refusal == nil {
			t.Error("usable")
		}
	}
	if opened != 2 {
		t.Errorf("opened %d times", opened)
	}
}

func TestAnotherKeyIsRefusedWhenItIsOpenedAgain(t *testing.T) {
	t.Parallel()
	private := ecKey(t)
	key, err := OpenKey(t.Context(), "image", func(context.Context) (*keystore.Key, error) {
		public, _ := ima.BareKey(private.Public())
		return keystore.NewKey(ima.CryptoSigner(private), public), nil
	})
	check(t, err)
	lose(t, key)
	private = ecKey(t)
	key.retry = time.Now()
	if refusal := key.usable(t.Context()); refusal == nil || key.down() == nil {
		t.Errorf("got %v", refusal)
	}
}

// lose makes a key fail.
func lose(t testing.TB, key *Key) {
	t.Helper()
	borrowed, err := key.borrow()
	check(t, err)
	key.lose(borrowed, keystore.ErrGone)
	key.giveBack(borrowed)
}
