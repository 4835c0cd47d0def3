package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// A server that failed is asked again after minRest, after twice that, and so on up to maxRest.
const (
	minRest = 250 * time.Millisecond
	maxRest = 15 * time.Second
)

// servers chooses the server for each batch. It is the circuit breaker: a server that failed
// gets no batches until it has described its key again, so no batch waits for a dead server
// twice. It is safe for concurrent use.
type servers struct {
	probe func(ctx context.Context, address string) error // asks a server whether it can sign again
	warn  func(format string, args ...any)                // is told of servers that are not used again

	mu      sync.Mutex
	list    []*server
	changed chan struct{} // closed whenever a server may have become usable
	turn    int
	stop    context.CancelFunc
	life    context.Context //nolint:containedctx // ends when the key is closed
	probes  sync.WaitGroup
}

// server is guarded by servers.mu.
type server struct {
	address  string
	up       bool
	wrong    bool      // it is not used again: it has another key, or has answered falsely
	lies     int       // batches that it answered falsely
	named    bool      // somebody was told that it is wrong
	probing  bool      // somebody asks it
	rest     time.Time // until then, it is not asked
	failures int       // in sequence
	batches  int       // that it works on
	err      error     // why it is not up, or rests
}

func newServers(addresses []string, probe func(context.Context, string) error, warn func(string, ...any)) *servers {
	s := &servers{probe: probe, warn: warn, changed: make(chan struct{})}
	s.life, s.stop = context.WithCancel(context.Background())
	for _, address := range addresses {
		s.list = append(s.list, &server{address: address})
	}
	return s
}

// close ends all probes.
func (s *servers) close() {
	s.stop()
	s.probes.Wait()
}

// take waits for a server that can get a batch, and returns the one with the fewest. give
// must follow. It returns an error when ctx ends, or when no server will ever be usable.
func (s *servers) take(ctx context.Context) (*server, error) {
	for {
		switch {
		case s.life.Err() != nil:
			return nil, keystore.ErrClosed
		case ctx.Err() != nil:
			return nil, s.explain(context.Cause(ctx))
		}
		chosen, wake, changed := s.choose(time.Now())
		if chosen != nil {
			return chosen, nil
		}
		if wake.IsZero() {
			return nil, s.explain(nil)
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-changed:
		case <-timer.C:
		case <-s.life.Done():
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// choose returns a usable server, or else when the next one may be usable: the zero time if
// none ever will be. It starts the probes that are due.
func (s *servers) choose(now time.Time) (chosen *server, wake time.Time, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn++
	for i := range s.list {
		one := s.list[(i+s.turn)%len(s.list)]
		due := !now.Before(one.rest)
		switch {
		case one.wrong:
			continue
		case one.up && due:
			if chosen == nil || one.batches < chosen.batches {
				chosen = one
			}
			continue
		case !one.up && due && !one.probing:
			one.probing = true
			s.probes.Go(func() { s.examine(s.life, one) })
		}
		at := one.rest
		if one.probing {
			at = now.Add(maxRest) // the probe reports a change
		}
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	if chosen != nil {
		chosen.batches++
	}
	return chosen, wake, s.changed
}

// examine asks a server that is not up. It outlives the batch for which it was started.
func (s *servers) examine(life context.Context, one *server) {
	ctx, cancel := context.WithTimeout(life, connectTimeout+pingAfter)
	defer cancel()
	err := s.probe(ctx, one.address)
	defer s.name(one)
	s.mu.Lock()
	defer s.mu.Unlock()
	one.probing = false
	s.judge(one, err)
	s.wake()
}

// give returns a server after a batch. err is how it failed, or nil.
func (s *servers) give(one *server, err error) {
	defer s.name(one)
	s.mu.Lock()
	defer s.mu.Unlock()
	one.batches--
	if !errors.Is(err, errLeft) {
		s.judge(one, err)
	}
	s.wake()
}

// start asks all servers at once, and returns when the first one is up. It returns an error if
// all have failed.
func (s *servers) start(ctx context.Context) error {
	for {
		s.mu.Lock()
		up, probing, changed := false, false, s.changed
		for _, one := range s.list {
			if !one.up && !one.probing && one.err == nil {
				one.probing = true
				s.probes.Go(func() { s.examine(s.life, one) })
			}
			up, probing = up || one.up, probing || one.probing
		}
		s.mu.Unlock()
		switch {
		case up:
			return nil
		case !probing:
			return s.explain(nil)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await waits for the first server that is up. It returns why there is none when ctx ends.
func (s *servers) await(ctx context.Context) error {
	one, err := s.take(ctx)
	if err == nil {
		s.give(one, errLeft)
	}
	return err
}

// wake wakes all who wait. The caller holds s.mu.
func (s *servers) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// judge decides whether a server is up. The caller holds s.mu.
func (s *servers) judge(one *server, err error) {
	var r *refused
	switch {
	case errors.Is(err, errWrongKey), errors.Is(err, errFalse):
		if errors.Is(err, errFalse) {
			one.lies++
		}
		if !one.wrong {
			one.up, one.wrong, one.err = false, true, err
		}
	case one.wrong:
	case err == nil:
		one.up, one.failures, one.err, one.rest = true, 0, nil, time.Time{}
	case errors.As(err, &r) && r.Code.Elsewhere():
		one.up, one.err = true, err
		one.rest = time.Now().Add(jitter(max(r.pause, minRest)))
	case errors.As(err, &r) && one.up: // about the batch, not the server
	default:
		one.up, one.err = false, err
		one.rest = time.Now().Add(jitter(min(minRest<<min(one.failures, 10), maxRest)))
		one.failures++
	}
}

// jitter returns d or up to half as much more, so that clients do not come back together.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/2+1) //nolint:gosec // no secret
}

// others reports whether a batch that leaves this server would find another one.
func (s *servers) others(one *server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.list {
		if other != one && other.up && !time.Now().Before(other.rest) {
			return true
		}
	}
	return false
}
