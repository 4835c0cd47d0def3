package signd

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

// pipe returns one end of a connection.
func pipe(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a
}

func TestConnectionsOfOneCertificate(t *testing.T) {
	t.Parallel()
	c := newConns(5, 3, 2)
	var list []net.Conn
	for range 3 {
		one := pipe(t)
		c.add(one)
		list = append(list, one)
	}
	spki := sha256.Sum256(nil)
	check(t, c.identify(list[0], spki, true))
	check(t, c.identify(list[1], spki, true))
	if err := c.identify(list[2], spki, true); err == nil {
		t.Error("a third connection")
	}
	if err := c.identify(list[1], spki, true); err == nil {
		t.Error("a second handshake")
	}
	c.changed(tls.Server(list[0], nil), http.StateClosed)
	check(t, c.identify(list[2], spki, true))
	for range 4 { // the oldest one makes room
		c.add(pipe(t))
	}
	if n := c.count(); n != 5 {
		t.Errorf("%d connections", n)
	}
	c.revoke(func(s [32]byte) bool { return s == spki })
	if _, err := list[1].Write([]byte{0}); err == nil {
		t.Error("open")
	}
}

// TestConnectionsForEveryRequester has strangers with certificates of the CA, and then requesters, take every
// place that they can: another requester still gets a connection.
func TestConnectionsForEveryRequester(t *testing.T) {
	t.Parallel()
	c := newConns(6, 4, 5)
	connect := func(who string, requester bool) (net.Conn, error) {
		one := pipe(t)
		c.add(one)
		return one, c.identify(one, sha256.Sum256([]byte(who)), requester)
	}
	for i := range 20 {
		_, err := connect(fmt.Sprint("stranger", i), false)
		check(t, err)
	}
	var first net.Conn
	for i := range 5 {
		one, err := connect("greedy", true)
		check(t, err)
		if i == 0 {
			first = one
		}
	}
	for range 3 {
		_, err := connect("other", true)
		check(t, err)
	}
	if _, err := first.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the oldest connection of the certificate with the most: %v", err)
	}
	if _, err := connect("other", true); err == nil {
		t.Error("a requester takes places from one that has no more")
	}
	_, err := connect("third", true)
	check(t, err)
	if c.known != 6 || c.unknown.Len() > 4 || c.count() != c.known+c.unknown.Len() {
		t.Errorf("%d known, %d unknown", c.known, c.unknown.Len())
	}
}

// TestStrangersLeavePlaces opens more connections with a certificate that no requester has than there may be.
func TestStrangersLeavePlaces(t *testing.T) {
	t.Parallel()
	s := simple(t)
	s.conns.mu.Lock()
	s.conns.mostUnknown = 4
	s.conns.mu.Unlock()
	for range 12 {
		_, err := s.authority.client(t, s.address).ask(t, s.ci.request(s.address, 1))
		refused(t, err, protocol.UnknownRequester, "")
	}
	if n := s.conns.count(); n > 4 {
		t.Errorf("%d connections of strangers", n)
	}
	_, err := s.ci.ask(t, s.ci.request(s.address, 1))
	check(t, err)
}
