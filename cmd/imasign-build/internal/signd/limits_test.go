package signd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestDrain ends a server that signs: what it took is answered, what comes later is refused.
func TestDrain(t *testing.T) {
	t.Parallel()
	private := ecKey(t)
	slow := &slowKey{RawSigner: ima.CryptoSigner(private)}
	s := start(t, keyOf(t, "image", private, slow, func(k *keystore.Key) { k.Parallelism = 1 }))
	gate := make(chan struct{})
	slow.set(gate, nil)
	ended := make(chan error, 1)
	go func() {
		_, err := s.ci.ask(t, s.ci.request(s.address, 5))
		ended <- err
	}()
	eventually(t, func() bool { n, _ := s.key.queue.length(); return n == 1 })
	status := httptest.NewServer(s.Status())
	defer status.Close()
	if got := get(t, status.URL+"/readyz"); got != "200 ready" {
		t.Errorf("got %s", got)
	}
	s.stop()
	eventually(t, func() bool { return get(t, status.URL+"/readyz") == "503 draining" })
	_, reply, err := s.ci.post(bytes.NewReader(s.ci.seal(t, s.ci.request(s.address, 1))))
	refused(t, err, protocol.Draining, "")
	if reply.after == "" || get(t, status.URL+"/healthz") != "200 ok" {
		t.Error("no Retry-After, or not healthy")
	}
	close(gate)
	check(t, <-ended)
	err = <-s.ended
	check(t, err)
	s.ended <- nil
}

// TestDrainIsBounded ends a server whose key hangs.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	var f inFlight
	f.add(1)
	ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if err := f.wait(ctx); err == nil {
		t.Error("a batch is not waited for")
	}
	go f.add(-1)
	check(t, f.wait(t.Context()))
	check(t, f.wait(t.Context()))
}

func get(t testing.TB, url string) string {
	t.Helper()
	response, err := http.Get(url)
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSuffix(string(body), "\n"))
}

// TestSlowLoris opens connections that say nothing, as many as there may be and more: a client
// still gets its signatures, because the oldest of them are closed.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	s := simple(t)
	var silent []net.Conn
	for range maxUnknown + 20 {
		c, err := net.Dial("tcp", s.address)
		check(t, err)
		defer c.Close()
		silent = append(silent, c)
	}
	eventually(t, func() bool { return s.conns.count() == maxUnknown })
	_, err := s.ci.ask(t, s.ci.request(s.address, 10))
	check(t, err)
	check(t, silent[0].SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the oldest connection is open: %v", err)
	}
}

// trickle is a body that never ends.
type trickle struct{ ended chan struct{} }

func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(20 * time.Millisecond):
		p[0] = 0
		return 1, nil
	case <-b.ended:
		return 0, io.EOF
	}
}

// TestSlowBodies sends bodies slowly, until a client certificate has no more memory for them. Only its
// own requests are refused.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	s := simple(t)
	other := s.authority.client(t, s.address)
	s.SetPolicy(s.policyOf(t, s.ci.requester("ci"), other.requester("other")))
	ended := make(chan struct{})
	defer close(ended)
	for range maxBodies / 2 / protocol.MaxBody {
		go func() { _, _, _ = other.post(trickle{ended}) }()
	}
	eventually(t, func() bool { s.bodies.mu.Lock(); defer s.bodies.mu.Unlock(); return s.bodies.total == maxBodies/2 })
	_, err := other.ask(t, other.request(s.address, 1))
	refused(t, err, protocol.Busy, "at a time")
	_, err = s.ci.ask(t, s.ci.request(s.address, 1))
	check(t, err)
}
