package service

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestHostileConnections measures how long honest requests take, alone and while others hold
// connections open, send a byte now and then, bodies of 2 MiB and what is no request.
func TestHostileConnections(t *testing.T) {
	nightly(t)
	s := newService(t, harness.Keys(t, "p256"))
	hostile := s.identity(later())
	s.rules(hostile.requester("hostile"), "  - {name: all, keys: [image], requesters: [build], forms: [v2]}\n")
	s.start()
	honest := s.wire(s.own())
	honest.times(100)
	var alone, attacked []time.Duration
	for range 4 {
		alone = append(alone, honest.times(250)...)
		end := s.attack(hostile)
		attacked = append(attacked, honest.times(250)...)
		end()
	}
	a, b := quantile(alone, 0.99), quantile(attacked, 0.99)
	t.Logf("99%% of honest requests: within %v alone, %v under attack; half: %v and %v", a, b, quantile(alone, 0.5), quantile(attacked, 0.5))
	if b > 2*a {
		t.Errorf("%v is more than twice %v", b, a)
	}
	for _, code := range []string{"malformed", "too-large"} {
		if s.metric(`imasign_refusals_total{code="`+code+`"}`) == 0 {
			t.Errorf("no request was refused as %s", code)
		}
	}
	s.slim()
}

// times returns how long n requests of 16 digests took.
func (w *wire) times(n int) (all []time.Duration) {
	w.Helper()
	for range n {
		r := w.request(16)
		begin := time.Now()
		w.is(w.ask(r), "")
		all = append(all, time.Since(begin))
	}
	return all
}

// attack begins all attacks. The caller ends them.
func (s *service) attack(who *identity) (end func()) {
	s.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	repeat := func(every time.Duration, act func()) {
		all.Go(func() {
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for {
				select {
				case <-stop:
					return
				case <-ticker.C:
					act()
				}
			}
		})
	}
	var held []io.Closer
	for range 100 { // handshakes that never end
		if conn, err := net.Dial("tcp", s.address); err == nil {
			held = append(held, conn)
		}
	}
	config := s.tls(who)
	for range 16 { // requests that never end
		conn, err := tls.Dial("tcp", s.address, config)
		if err != nil {
			continue
		}
		held = append(held, conn)
		_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		repeat(time.Second, func() { _, _ = conn.Write([]byte{0}) })
	}
	for i := range 8 { // bodies that never end
		client := &http.Client{Transport: transport(config)}
		reader, writer := io.Pipe()
		held = append(held, writer)
		all.Go(func() {
			request, _ := http.NewRequest(http.MethodPost, "https://"+s.address+protocol.SignPath, reader)
			request.ContentLength = int64(1000 + i)
			if response, err := client.Do(request); err == nil {
				_ = response.Body.Close()
			}
			_ = reader.Close()
		})
		repeat(time.Second, func() { _, _ = writer.Write([]byte{0}) })
	}
	large, wrong := &wire{s, who, &http.Client{Transport: transport(config)}}, &wire{s, who, &http.Client{Transport: transport(config)}}
	repeat(50*time.Millisecond, func() { large.post(make([]byte, 2<<20)) })
	repeat(20*time.Millisecond, func() { wrong.post(nested()) })
	repeat(20*time.Millisecond, func() { wrong.post(append([]byte{0x82, 0x5a, 0, 0xf, 0xff, 0xff}, random(1000)...)) })
	return func() {
		close(stop)
		for _, c := range held {
			_ = c.Close()
		}
		all.Wait()
	}
}

// nested is CBOR of many arrays in each other.
func nested() []byte { return []byte(strings.Repeat("\x81", 100_000)) }
