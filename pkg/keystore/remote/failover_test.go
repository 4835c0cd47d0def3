package remote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
)

// signMany signs n batches with several goroutines.
func (w *world) signMany(key *keystore.Key, n, size int) error {
	var wait sync.WaitGroup
	errs := make([]error, n)
	work := make(chan int)
	for range 4 {
		wait.Go(func() {
			for i := range work {
				_, errs[i] = w.sign(key, size)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wait.Wait()
	return errors.Join(errs...)
}

// TestFailover checks that batches go to servers that sign: one is absent, one refuses for the
// moment, one ends its connections, one signs with another key.
func TestFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	absent := w.start()
	absent.Close()
	var refusals, cut atomic.Int32
	draining := w.start(only(func(w http.ResponseWriter, _ *http.Request) {
		refusals.Add(1)
		w.Header().Set("Retry-After", "60")
		refuse(w, protocol.Refuse(protocol.Draining, "the server is about to end"))
	}))
	broken := w.start(only(func(http.ResponseWriter, *http.Request) {
		cut.Add(1)
		panic(http.ErrAbortHandler)
	}))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	wrong := w.start(func(s *service) { s.key = other })
	good := w.start()
	key := w.open(w.uri("", absent, draining, broken, wrong, good), w.options())
	check(t, w.signMany(key, 40, 4))
	if _, n := good.count(); n != 160 {
		t.Errorf("the good server has signed %d digests", n)
	}
	// Nobody asks the draining server twice in its minute, but for requests at the same time.
	if refusals.Load() > 4 || cut.Load() > 10 {
		t.Errorf("%d requests to the draining server, %d to the broken one", refusals.Load(), cut.Load())
	}
}

// TestBusy checks that a refusal for the moment is not the end, and that each attempt has an id
// of its own.
func TestBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	left := 3
	s := w.start(func(s *service) {
		s.refuse = func(*protocol.Request) *protocol.RefusedError {
			if left--; left >= 0 {
				return protocol.Refuse(protocol.Busy, "the queue is full")
			}
			return nil
		}
	})
	key := w.open(w.uri("", s), w.options())
	_, err := w.sign(key, 2)
	check(t, err)
	ids := map[string]bool{}
	for _, r := range s.requests {
		ids[string(r.ID)] = true
	}
	if len(ids) != 4 {
		t.Errorf("%d ids in %d requests", len(ids), len(s.requests))
	}
}

// TestRefusals checks that a refusal of the request ends it at once, and what its error says.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for code, c := range map[protocol.Code]struct {
		is   error
		want string
	}{
		protocol.NoRule:           {keystore.ErrKeyUse, "refused (no-rule): because"},
		protocol.UnknownRequester: {keystore.ErrKeyUse, "because; the key of this requester is "},
		protocol.WrongTime:        {keystore.ErrKeyUse, "the clocks agree now"},
		protocol.UnknownKey:       {keystore.ErrNotFound, "because"},
		"another":                 {keystore.ErrKeyUse, "refused (another)"},
	} {
		s := w.start(func(s *service) {
			s.refuse = func(*protocol.Request) *protocol.RefusedError { return protocol.Refuse(code, "because") }
		})
		other := w.start()
		key := w.open(w.uri("", s), w.options())
		_, err := w.sign(key, 2)
		var refusal *protocol.RefusedError
		if !errors.As(err, &refusal) || refusal.Code != code || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.address()+": ") {
			t.Errorf("%s: %v", code, err)
		}
		if n, _ := s.count(); n != 1 {
			t.Errorf("%s: %d requests", code, n)
		}
		if n, _ := other.count(); n != 0 {
			t.Errorf("%s: %d requests to the other server", code, n)
		}
	}
	s := w.start(func(s *service) {
		s.before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", time.Now().Add(-20*time.Minute).UTC().Format(http.TimeFormat))
			return false
		}
		s.refuse = func(*protocol.Request) *protocol.RefusedError { return protocol.Refuse(protocol.WrongTime, "because") }
	})
	if _, err := w.sign(w.open(w.uri("", s), w.options()), 1); err == nil || !strings.Contains(err.Error(), "the clock here is 20m") {
		t.Errorf("got %v", err)
	}
}

// TestRuleLimits checks that batches become as small as a rule wants them, once.
func TestRuleLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(func(s *service) {
		s.refuse = func(r *protocol.Request) *protocol.RefusedError {
			if len(r.Split()) > 20 {
				return protocol.Refuse(protocol.TooLarge, "at most 20 digests")
			}
			return nil
		}
	})
	key := w.open(w.uri("", s), w.options())
	_, err := w.sign(key, 160)
	check(t, err)
	if n, _ := s.count(); n != 2+10 { // 64, 32, then ten times 16
		t.Errorf("%d requests", n)
	}
}

// gate is a server that forwards connections to another one, until it is closed: then it stays
// silent, as a stopped process does.
type gate struct {
	net.Listener

	closed atomic.Bool
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g := &gate{Listener: listener}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			go g.forward(in, out)
			go g.forward(out, in)
			t.Cleanup(func() { in.Close(); out.Close() })
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return g
}

// forward copies until the gate is closed. Then it reads, and drops what it has read.
func (g *gate) forward(from io.Reader, to io.Writer) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if !g.closed.Load() {
			_, _ = to.Write(buffer[:n])
		}
	}
}

// TestAStoppedServer checks that a server that stops in the middle of a batch is noticed, that
// its batches are signed elsewhere, and that it gets batches again when it continues.
func TestAStoppedServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stopped := w.start()
	g := newGate(t, stopped.address())
	other := w.start()
	uri := strings.Replace(w.uri("", stopped, other), stopped.address(), g.Addr().String(), 1)
	stopped.audience = g.Addr().String()
	key := w.open(uri, w.options())
	for n := 0; n == 0; n, _ = stopped.count() { // the other one may be up first
		check(t, w.signMany(key, 4, 4))
	}
	g.closed.Store(true)
	before, _ := stopped.count()
	check(t, w.signMany(key, 50, 4))
	if after, _ := stopped.count(); after != before {
		t.Errorf("the stopped server got %d batches", after-before)
	}
	g.closed.Store(false)
	for range 200 {
		check(t, w.signMany(key, 4, 4))
		if after, _ := stopped.count(); after > before {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the server gets no batches since it continues")
}

// TestInterrupts checks that the end of a context ends the wait for a server.
func TestInterrupts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := w.start(only(func(_ http.ResponseWriter, r *http.Request) {
		cancel(stop)
		<-r.Context().Done()
	}))
	key := w.open(w.uri("", s), w.options())
	if _, err := ima.Sign(ctx, key, w.public, ima.ContentSignature(), ima.SHA256, digests(1)); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// starting is a listener that closes its first connections, as a server does that is about to
// be restarted.
type starting struct {
	net.Listener

	left atomic.Int32
}

func (l *starting) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.left.Add(-1) < 0 {
			return conn, err
		}
		_ = conn.Close()
	}
}

// TestOpensDuringARestart opens a key whose server ends its first connections. Only with a
// timeout in the URI, that is waited for.
func TestOpensDuringARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var listener *starting
	s := w.start(func(s *service) {
		listener = &starting{Listener: s.Listener}
		s.Listener = listener
	})
	listener.left.Store(3)
	if _, err := remote.New(nil).Open(t.Context(), w.uri("", s), w.options()); !errors.Is(err, keystore.ErrGone) {
		t.Errorf("without a timeout: %v", err)
	}
	listener.left.Store(3)
	key := w.open(w.uri("&timeout=1m", s), w.options())
	if _, err := w.sign(key, 1); err != nil {
		t.Error(err)
	}
}
