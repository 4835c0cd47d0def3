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
	maxConns          = 512
	maxUnknown        = 128 // before the end of the handshake
	maxPerCertificate = 32
)

// conns knows the open connections. When there are too many whose handshake has not ended, the
// oldest of them is closed: an honest handshake takes milliseconds.
type conns struct {
	most, mostUnknown, mostEach int

	mu      sync.Mutex
	all     map[net.Conn]*conn
	unknown *list.List // of *conn, the oldest first
	each    map[[sha256.Size]byte]int
}

type conn struct {
	net.Conn

	spki [sha256.Size]byte
	at   *list.Element // in conns.unknown, nil if the client is known
}

func newConns(most, mostUnknown, mostEach int) *conns {
	return &conns{most: most, mostUnknown: mostUnknown, mostEach: mostEach, all: map[net.Conn]*conn{}, unknown: list.New(), each: map[[sha256.Size]byte]int{}}
}

// listener returns a listener whose connections c knows.
func (c *conns) listener(l net.Listener) net.Listener { return counted{l, c} }

type counted struct {
	net.Listener

	conns *conns
}

// Accept waits for a connection. It closes those that are too many.
func (l counted) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.conns.add(raw) {
			return raw, nil
		}
		_ = raw.Close()
	}
}

// add takes a new connection, and makes room for it. It returns false if there is none.
func (c *conns) add(raw net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unknown.Len() >= c.mostUnknown || len(c.all) >= c.most && c.unknown.Len() > 0 {
		oldest := c.unknown.Front().Value.(*conn)
		c.drop(oldest)
		_ = oldest.Close()
	}
	if len(c.all) >= c.most {
		return false
	}
	one := &conn{Conn: raw}
	one.at = c.unknown.PushBack(one)
	c.all[raw] = one
	return true
}

// known notes whose connection it is. It is called at the end of the handshake.
func (c *conns) known(raw net.Conn, spki [sha256.Size]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.all[raw]
	switch {
	case one == nil:
		return errors.New("the connection is closed")
	case one.at == nil:
		return errors.New("a second handshake")
	case c.each[spki] >= c.mostEach:
		return errors.New("too many connections with this client certificate")
	}
	c.unknown.Remove(one.at)
	one.at, one.spki = nil, spki
	c.each[spki]++
	return nil
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
	if one.at != nil {
		c.unknown.Remove(one.at)
	} else if c.each[one.spki]--; c.each[one.spki] == 0 {
		delete(c.each, one.spki)
	}
}

// revoke closes the connections of certificates that are revoked.
func (c *conns) revoke(revoked func([sha256.Size]byte) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if one.at == nil && revoked(one.spki) {
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
