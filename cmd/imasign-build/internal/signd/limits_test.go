package signd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
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
	for range maxBodiesEach / protocol.MaxBody {
		go func() { _, _, _ = other.post(trickle{ended}) }()
	}
	eventually(t, func() bool { s.bodies.mu.Lock(); defer s.bodies.mu.Unlock(); return s.bodies.total == maxBodiesEach })
	_, err := other.ask(t, other.request(s.address, 1))
	refused(t, err, protocol.Busy, "at a time")
	_, err = s.ci.ask(t, s.ci.request(s.address, 1))
	check(t, err)
}

func TestConnectionsOfOneCertificate(t *testing.T) {
	t.Parallel()
	c := newConns(5, 3, 2)
	pipe := func() net.Conn {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		return a
	}
	var list []net.Conn
	for range 3 {
		one := pipe()
		if !c.add(one) {
			t.Fatal("refused")
		}
		list = append(list, one)
	}
	spki := sha256.Sum256(nil)
	check(t, c.known(list[0], spki))
	check(t, c.known(list[1], spki))
	if err := c.known(list[2], spki); err == nil {
		t.Error("a third connection")
	}
	c.changed(tls.Server(list[0], nil), http.StateClosed)
	check(t, c.known(list[2], spki))
	for range 3 {
		if !c.add(pipe()) {
			t.Fatal("refused")
		}
	}
	if !c.add(pipe()) { // the oldest one makes room
		t.Error("refused")
	}
	if n := c.count(); n != 5 {
		t.Errorf("%d connections", n)
	}
	c.revoke(func(s [32]byte) bool { return s == spki })
	if _, err := list[1].Write([]byte{0}); err == nil {
		t.Error("open")
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	m := newIDs(4, 3)
	now := time.Unix(1000, 0)
	add := func(requester, id string, until int64) protocol.Code {
		if refusal, _ := m.add([]byte(requester), []byte(id), time.Unix(until, 0), now); refusal != nil {
			return refusal.Code
		}
		return ""
	}
	expect := func(got, want protocol.Code) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect(add("a", "1", 1300), "")
	expect(add("a", "1", 1300), protocol.Replayed)
	expect(add("b", "1", 1400), "")
	expect(add("a", "2", 1300), "")
	expect(add("a", "3", 1310), "")
	expect(add("a", "4", 1300), protocol.Busy) // too many of a requester
	expect(add("c", "1", 1300), protocol.Busy) // too many
	now = time.Unix(1300, 0)
	expect(add("a", "1", 1600), protocol.Replayed) // the request may still be taken
	now = time.Unix(1301, 0)
	expect(add("a", "4", 1600), "")
	expect(add("a", "5", 1600), "")
	expect(add("a", "6", 1600), protocol.Busy)
	expect(add("b", "1", 1600), protocol.Replayed)
	if m.count() != 4 {
		t.Errorf("%d ids", m.count())
	}
}

// TestIDsWhenTheClockIsSetBack checks that a request whose id was forgotten is not taken again, and that
// newer ones are once the clock is right.
func TestIDsWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	m := newIDs(10, 10)
	at := func(now, until int64, id string) (code protocol.Code, wait time.Duration) {
		refusal, wait := m.add([]byte("a"), []byte(id), time.Unix(until, 0), time.Unix(now, 0))
		if refusal != nil {
			code = refusal.Code
		}
		return code, wait
	}
	for _, c := range []struct {
		now, until int64
		id         string
		want       protocol.Code
		wait       time.Duration
	}{
		{1000, 1300, "1", "", 0},
		{2000, 2300, "2", "", 0}, // forgets the first
		{1000, 1300, "1", protocol.Busy, time.Second},
		{1000, 1290, "3", protocol.Busy, 11 * time.Second},
		{1001, 1301, "4", "", 0},
		{2000, 2300, "2", protocol.Replayed, 0},
	} {
		if code, wait := at(c.now, c.until, c.id); code != c.want || wait != c.wait {
			t.Errorf("id %s: got %q, %s, want %q, %s", c.id, code, wait, c.want, c.wait)
		}
	}
}

// TestRememberedIDsThatAreTooMany restarts a server whose log has more ids than it remembers: the newest are
// known, requests as old as the others are refused, and other requesters notice nothing.
func TestRememberedIDsThatAreTooMany(t *testing.T) {
	t.Parallel()
	m := newIDs(10, 3)
	now := time.Unix(5000, 0)
	for i, id := range []string{"1", "2", "3", "4", "5"} {
		m.remember([]byte("a"), []byte(id), now.Add(time.Duration(i)*time.Second), now)
	}
	add := func(requester, id string, seconds int) protocol.Code {
		refusal, _ := m.add([]byte(requester), []byte(id), now.Add(time.Duration(seconds)*time.Second), now)
		if refusal == nil {
			return ""
		}
		return refusal.Code
	}
	for _, c := range []struct {
		requester, id string
		seconds       int
		want          protocol.Code
	}{
		{"a", "1", 0, protocol.Busy}, {"a", "2", 1, protocol.Busy}, {"a", "3", 2, protocol.Replayed}, {"a", "5", 4, protocol.Replayed},
		{"b", "1", 0, ""}, {"b", "2", 1, ""},
	} {
		if got := add(c.requester, c.id, c.seconds); got != c.want {
			t.Errorf("%s, id %s: got %q, want %q", c.requester, c.id, got, c.want)
		}
	}
	now = now.Add(3 * time.Second)
	if got := add("a", "6", 300); got != "" {
		t.Errorf("got %q", got)
	}
	full := newIDs(2, 2)
	full.remember([]byte("b"), []byte("1"), now.Add(time.Minute), now)
	full.remember([]byte("b"), []byte("2"), now.Add(time.Minute), now)
	full.remember([]byte("a"), []byte("1"), now.Add(time.Second), now) // no place, and none of its own
	if refusal, wait := full.add([]byte("a"), []byte("1"), now.Add(time.Second), now); refusal == nil || wait != time.Second {
		t.Errorf("got %v, %s", refusal, wait)
	}
}

// TestRemember checks that a restarted server refuses what was taken before.
func TestRemember(t *testing.T) {
	t.Parallel()
	s := simple(t)
	r := s.ci.request(s.address, 1)
	s.Remember(r.Requester, r.ID, time.Now())
	_, err := s.ci.ask(t, r)
	refused(t, err, protocol.Replayed, "")
}
