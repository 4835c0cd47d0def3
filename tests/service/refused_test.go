package service

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestEveryRefusal causes the refusals that a client can cause, each by a request that differs
// in one thing from one that is granted. Each has its code, its line in the server's log and
// its count.
func TestEveryRefusal(t *testing.T) {
	t.Parallel()
	s := newService(t, harness.Keys(t, "p256"))
	other := s.identity(later())
	s.rules(other.requester("other"), "  - {name: small, keys: [image], requesters: [build], forms: [v2], hashes: [sha256], batch: 8, quota: 20}\n")
	s.configure("keys:\n", fmt.Sprintf("keys:\n  - {name: strict, uri: %s, certificate: %s, for: v3}\n", filepath.Join(s.keys, "x509_ima.key"), s.certificate()))
	s.start()
	w, stranger := s.wire(s.own()), s.wire(s.identity(later()))
	good := w.request(1)
	sealed := seal(t, good, w.who.key)
	w.is(w.post(sealed), "")
	changed := func(change func(*protocol.Request)) reply {
		r := w.request(1)
		change(r)
		return w.ask(r)
	}
	flipped := seal(t, w.request(1), w.who.key)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		code protocol.Code
		got  reply
	}{
		{protocol.Malformed, w.post([]byte("no request"))},
		{protocol.TooLarge, w.post(make([]byte, 2<<20))},
		{protocol.BadSignature, w.post(flipped)},
		{protocol.UnknownRequester, stranger.ask(stranger.request(1))},
		{protocol.WrongCertificate, w.post(seal(t, s.wire(other).request(1), other.key))},
		{protocol.WrongAudience, changed(func(r *protocol.Request) { r.Audience = "other.example:7443" })},
		{protocol.WrongTime, changed(func(r *protocol.Request) { r.Time -= 330 })},
		{protocol.WrongTime, changed(func(r *protocol.Request) { r.Time += 330 })},
		{protocol.Replayed, w.post(sealed)},
		{protocol.Replayed, changed(func(r *protocol.Request) { r.ID = good.ID })},
		{protocol.UnknownKey, changed(func(r *protocol.Request) { r.Key = "packages" })},
		{protocol.WrongForm, changed(func(r *protocol.Request) { r.Key = "strict" })},
		{protocol.NoRule, changed(func(r *protocol.Request) { r.Hash, r.Digests = uint8(ima.SHA512), random(64) })},
		{protocol.NoRule, s.wire(other).ask(s.wire(other).request(1))},
		{protocol.TooLarge, w.ask(w.request(9))},
		{"", w.ask(w.request(8))},
		{"", w.ask(w.request(8))},
		{protocol.Quota, w.ask(w.request(4))},
		{"", w.ask(w.request(3))},
		{protocol.Quota, w.ask(w.request(1))},
	} {
		w.is(c.got, c.code)
		if c.code != "" {
			demand(t, read(t, s.output), "refused ("+string(c.code)+")")
			if s.metric(`imasign_refusals_total{code="`+string(c.code)+`"}`) == 0 {
				t.Errorf("%s is not counted", c.code)
			}
		}
	}
	if n := s.metric("imasign_signatures_total"); n != 20 {
		t.Errorf("%v signatures", n)
	}
}

// TestCompromisedNetwork reaches the server, pretends to be it, and repeats what it has heard.
// Without a valid certificate nobody gets as far as a request, clients take no other server for
// theirs, and a request is good once, even if the server was killed since.
func TestCompromisedNetwork(t *testing.T) {
	t.Parallel()
	keys := harness.Keys(t, "p256")
	s, elsewhere := started(t, keys), newService(t, keys)
	expired := s.identity(time.Now().Add(-time.Minute))
	foreign := elsewhere.identity(later())
	for name, who := range map[string]*identity{"expired": expired, "of another CA": foreign} {
		w := s.wire(who)
		if r := w.ask(w.request(1)); r.err == nil {
			t.Errorf("a client whose certificate is %s gets %+v", name, r)
		}
	}
	w := s.wire(s.own())
	w.client.Transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	config := s.tls(w.who)
	config.Certificates = nil
	w.client.Transport = transport(config)
	if r := w.ask(w.request(1)); r.err == nil {
		t.Errorf("a client without a certificate gets %+v", r)
	}
	tree := files(t, 3)
	s.refused(s.key(expired.file), tree, "the client certificate of", "expired on")
	s.refused(s.key(foreign.file), tree, "refuses the client certificate")
	s.refused(strings.Replace(s.build(), s.path("requester", "ca.crt"), elsewhere.path("requester", "ca.crt"), 1), tree, "unknown authority")
	if s.metric("imasign_connection_errors_total") == 0 {
		t.Error("no failed handshake is counted")
	}
	w = s.wire(s.own())
	heard := seal(t, w.request(1), w.who.key)
	w.is(w.post(heard), "")
	s.kill()
	s.start()
	w.is(s.wire(s.own()).post(heard), protocol.Replayed)
}

// TestClientsSayWhy runs the program as a client that is refused. It says the reason, exits
// with 1 and changes nothing.
func TestClientsSayWhy(t *testing.T) {
	t.Parallel()
	s := newService(t, harness.Keys(t, "p256"))
	restricted := s.identity(later())
	s.rules(restricted.requester("restricted"), "  - {name: small, keys: [image], requesters: [build], forms: [v2], hashes: [sha256], batch: 8, quota: 20}\n")
	s.start()
	few, tree := files(t, 12), files(t, 21)
	s.signed(s.build(), "rootfs sign", few) // in more than one request
	s.accepted(few)
	s.refused(s.build(), tree, "refused (quota)")
	s.refused(strings.Replace(s.build(), "/image?", "/packages?", 1), tree, "refused (unknown-key)", "packages")
	s.refused(s.key(restricted.file), tree, "refused (no-rule)")
	stranger := s.identity(later())
	s.refused(s.key(stranger.file), tree, "refused (unknown-requester)", stranger.public())
	s.refused(s.key(s.path("requester", "identity.pem"), "client-cert="+stranger.file, "client-key="+stranger.file), tree, "refused (unknown-requester)")
	s.refused(s.key(s.path("requester", "identity.pem"), "client-cert="+restricted.file, "client-key="+restricted.file), tree, "refused (wrong-certificate)")
}
