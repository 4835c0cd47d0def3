package signd

import (
	"container/list"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
)

// Limits of open connections. HTTP/2 clients need one.
const (
	maxKnown          = 384
	maxUnknown        = 128 // before the end of the handshake, or with a certificate that no requester has
	maxPerCertificate = 32
)

// conns knows the open connections. Those of requesters have places of their own. When there are too
// many others, the oldest of them is closed: an honest handshake takes milliseconds. When requesters
// have too many, one of those with the most loses its oldest one, so each gets one.
type conns struct {
	mostKnown, mostUnknown, mostEach int

	mu      sync.Mutex
	all     map[net.Conn]*conn
	unknown *list.List                       // of *conn, the oldest first
	each    map[[sha256.Size]byte]*list.List // the same for each certificate of a requester
	known   int
}

type conn struct {
	net.Conn

	spki [sha256.Size]byte // the zero value before the end of the handshake
	in   *list.List        // conns.unknown, or one of conns.each
	at   *list.Element     // in this list
}

func newConns(mostKnown, mostUnknown, mostEach int) *conns {
	return &conns{mostKnown: mostKnown, mostUnknown: mostUnknown, mostEach: mostEach, all: map[net.Conn]*conn{}, unknown: list.New(), each: map[[sha256.Size]byte]*list.List{}}
}

// listener returns a listener whose connections c knows.
func (c *conns) listener(l net.Listener) net.Listener { return counted{l, c} }

type counted struct {
	net.Listener

	conns *conns
}

// Accept waits for a connection. The oldest one that is too many is closed.
func (l counted) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err == nil {
		l.conns.add(raw)
	}
	return raw, err
}

// add takes a new connection, and makes room for it.
func (c *conns) add(raw net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unknown.Len() >= c.mostUnknown {
		c.closeOldest(c.unknown)
	}
	one := &conn{Conn: raw, in: c.unknown}
	one.at = c.unknown.PushBack(one)
	c.all[raw] = one
}

func (c *conns) closeOldest(of *list.List) {
	oldest := of.Front().Value.(*conn)
	c.drop(oldest)
	_ = oldest.Close()
}

// identify notes whose connection it is, and whether the certificate is that of a requester. It is called at
// the end of the handshake.
func (c *conns) identify(raw net.Conn, spki [sha256.Size]byte, requester bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.all[raw]
	switch {
	case one == nil:
		return errors.New("the connection is closed")
	case one.spki != [sha256.Size]byte{}:
		return errors.New("a second handshake")
	}
	if !requester {
		one.spki = spki
		return nil
	}
	own := 0
	if c.each[spki] != nil {
		own = c.each[spki].Len()
	}
	if own >= c.mostEach {
		return errors.New("too many connections with this client certificate")
	}
	if c.known >= c.mostKnown {
		longest := c.longest()
		if longest.Len() <= own+1 {
			return errors.New("too many connections")
		}
		c.closeOldest(longest)
	}
	if c.each[spki] == nil {
		c.each[spki] = list.New()
	}
	c.unknown.Remove(one.at)
	one.spki, one.in = spki, c.each[spki]
	one.at = one.in.PushBack(one)
	c.known++
	return nil
}

// longest returns the most connections of one certificate. The caller holds c.mu, and there are some.
func (c *conns) longest() (longest *list.List) {
	for _, of := range c.each {
		if longest == nil || of.Len() > longest.Len() {
			longest = of
		}
	}
	return longest
}

// changed forgets a connection that was closed; see [http.Server.ConnState].
func (c *conns) changed(secured net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	if t, ok := secured.(*tls.Conn); ok {
		secured = t.NetConn()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.all[secured]; one != nil {
		c.drop(one)
	}
}

func (c *conns) drop(one *conn) {
	delete(c.all, one.Conn)
	one.in.Remove(one.at)
	if one.in == c.unknown {
		return
	}
	if c.known--; one.in.Len() == 0 {
		delete(c.each, one.spki)
	}
}

// revoke closes the connections of certificates that are revoked.
func (c *conns) revoke(revoked func([sha256.Size]byte) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if one.spki != [sha256.Size]byte{} && revoked(one.spki) {
			_ = one.Close() // changed forgets it
		}
	}
}

// count returns the number of open connections.
func (c *conns) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}
