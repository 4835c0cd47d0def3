package signd

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

func TestSignsAndRecords(t *testing.T) {
	t.Parallel()
	s := simple(t)
	r := s.ci.request(s.address, 100)
	r.Origins = []protocol.Origin{{Container: "rpm", Name: []byte("a.rpm"), Header: []byte("header"), Signature: []byte("signature")}}
	for range 100 {
		r.Claims = append(r.Claims, protocol.Claim{Path: []byte("/usr/bin/a")})
	}
	answer, err := s.ci.ask(t, r)
	check(t, err)
	digests := r.Split()
	if !bytes.Equal(answer.ID, r.ID) || len(answer.Signatures) != len(digests) || answer.Receipt.Proof != "proof" {
		t.Fatalf("got %d signatures, id %x", len(answer.Signatures), answer.ID)
	}
	var leaves []tlog.Hash
	for i, digest := range digests {
		check(t, s.key.Public().Verify(ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest}, answer.Signatures[i]))
		leaves = append(leaves, protocol.Leaf(s.key.spki, r.Type, r.Signature, r.Hash, digest, answer.Signatures[i]))
	}
	record, err := protocol.DecodeRecord(answer.Receipt.Record)
	check(t, err)
	root := protocol.Root(leaves)
	if record.Requester != "ci" || record.Rule != "all" || !bytes.Equal(record.Root, root[:]) || record.Digests != 100 {
		t.Errorf("got the record %+v", record)
	}
	details, err := protocol.DecodeDetails(s.log.details[0])
	check(t, err)
	if len(details.Claims) != 100 || details.Origins[0].Header != nil || len(details.Leaves) != 3200 || !bytes.Equal(details.Digests, r.Digests) {
		t.Error("the details are not those of the request")
	}
}

func TestKeyInfo(t *testing.T) {
	t.Parallel()
	s := simple(t)
	get := func(c *client, name string) (int, []byte) {
		response, err := c.http.Get(c.url + protocol.KeyPath + name)
		check(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		check(t, err)
		return response.StatusCode, body
	}
	status, body := get(s.ci, "image")
	info, err := protocol.DecodeKeyInfo(body)
	if status != http.StatusOK || err != nil || !bytes.Equal(info.SPKI, s.key.der) || info.Log != "log+key" {
		t.Errorf("got %d, %v, %v", status, info, err)
	}
	if status, body = get(s.ci, "other"); status != http.StatusNotFound {
		t.Errorf("got %d, %q", status, body)
	}
	if status, body = get(s.authority.client(t, s.address), "image"); status != http.StatusForbidden {
		t.Errorf("got %d, %q", status, body)
	}
}

// TestRefusals causes every refusal that a client can cause alone.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := simple(t)
	stranger := s.authority.client(t, s.address)
	sealed := func(change func(*protocol.Request)) func() io.Reader {
		return func() io.Reader {
			r := s.ci.request(s.address, 3)
			change(r)
			return bytes.NewReader(s.ci.seal(t, r))
		}
	}
	with := func(code protocol.Code, send func() (io.Reader, *client), words string) {
		t.Helper()
		body, from := send()
		_, reply, err := from.post(body)
		refused(t, err, code, words)
		if reply.status != code.Status() {
			t.Errorf("%s: status %d", code, reply.status)
		}
	}
	as := func(c *client, body func() io.Reader) func() (io.Reader, *client) {
		return func() (io.Reader, *client) { return body(), c }
	}
	ok := sealed(func(*protocol.Request) {})
	with(protocol.Malformed, as(s.ci, func() io.Reader { return strings.NewReader("no CBOR") }), "")
	with(protocol.TooLarge, as(s.ci, func() io.Reader { return bytes.NewReader(make([]byte, 2<<20)) }), "at most")
	with(protocol.TooLarge, as(s.ci, func() io.Reader { return io.LimitReader(rand.Reader, 2<<20) }), "at most") // without a length
	with(protocol.BadSignature, as(s.ci, func() io.Reader {
		_, other, err := ed25519.GenerateKey(rand.Reader)
		check(t, err)
		body, err := protocol.Seal(s.ci.request(s.address, 1), other)
		check(t, err)
		return bytes.NewReader(body)
	}), "")
	with(protocol.UnknownRequester, as(stranger, ok), "client certificate")
	with(protocol.UnknownRequester, as(s.ci, func() io.Reader { return bytes.NewReader(stranger.seal(t, stranger.request(s.address, 1))) }), "key")
	with(protocol.WrongAudience, as(s.ci, sealed(func(r *protocol.Request) { r.Audience = "elsewhere:1" })), "elsewhere:1")
	with(protocol.WrongTime, as(s.ci, sealed(func(r *protocol.Request) { r.Time -= 301 })), "differ by 5m")
	with(protocol.WrongTime, as(s.ci, sealed(func(r *protocol.Request) { r.Time += 310 })), "set them")
	with(protocol.UnknownKey, as(s.ci, sealed(func(r *protocol.Request) { r.Key = "other" })), "other")
	with(protocol.WrongForm, as(s.ci, sealed(func(r *protocol.Request) { r.Signature = 3 })), "version 3")
	again := s.ci.seal(t, s.ci.request(s.address, 1))
	_, _, err := s.ci.post(bytes.NewReader(again))
	check(t, err)
	with(protocol.Replayed, as(s.ci, func() io.Reader { return bytes.NewReader(again) }), "new request")
	s.judge.refusal = protocol.Refuse(protocol.NoRule, "no rule")
	with(protocol.NoRule, as(s.ci, ok), "no rule")
	s.judge.refusal = nil

	codes := map[protocol.Code]int{}
	for _, record := range s.log.all() {
		codes[record.Refusal]++
	}
	for code, want := range map[protocol.Code]int{"": 1, protocol.WrongAudience: 1, protocol.WrongTime: 2, protocol.UnknownKey: 1, protocol.WrongForm: 1, protocol.Replayed: 1, protocol.NoRule: 1, protocol.Malformed: 0, protocol.UnknownRequester: 0} {
		if codes[code] != want {
			t.Errorf("%d records of %q, want %d", codes[code], code, want)
		}
	}
	if !strings.Contains(s.noted(), "refused (wrong-audience)") {
		t.Errorf("got the notes %s", s.noted())
	}
}

// TestCertificateOfAnother sends the request of one requester over the connection of another.
func TestCertificateOfAnother(t *testing.T) {
	t.Parallel()
	s := simple(t)
	other := s.authority.client(t, s.address)
	s.SetPolicy(s.policyOf(t, s.ci.requester("ci"), other.requester("other")))
	_, _, err := other.post(bytes.NewReader(s.ci.seal(t, s.ci.request(s.address, 1))))
	refused(t, err, protocol.WrongCertificate, "ci")
}

func TestExpiredClientCertificate(t *testing.T) {
	t.Parallel()
	s := simple(t)
	expired := s.authority.clientWith(t, s.address, s.ci.key, -time.Minute)
	if _, err := expired.ask(t, expired.request(s.address, 1)); err == nil {
		t.Error("an expired certificate is taken")
	}
	config := expired.http.Transport.(*http.Transport).TLSClientConfig
	conn, err := tls.Dial("tcp", s.address, config)
	check(t, err)
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "expired certificate") {
		t.Errorf("got %v", err)
	}
	// One expires while the connection is open.
	soon := s.authority.clientWith(t, s.address, s.ci.key, 1500*time.Millisecond)
	_, err = soon.ask(t, soon.request(s.address, 1))
	check(t, err)
	time.Sleep(time.Until(soon.cert.Leaf.NotAfter) + 1100*time.Millisecond)
	_, err = soon.ask(t, soon.request(s.address, 1))
	refused(t, err, protocol.WrongCertificate, "expired")
}

func TestOtherAuthority(t *testing.T) {
	t.Parallel()
	s := simple(t)
	other := newAuthority(t).clientWith(t, s.address, s.ci.key, time.Hour)
	other.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = s.ci.http.Transport.(*http.Transport).TLSClientConfig.RootCAs
	if _, err := other.ask(t, other.request(s.address, 1)); err == nil {
		t.Error("a certificate of another CA is taken")
	}
}

// TestRevocation removes a requester: its open connection is closed, and it gets no other answer.
func TestRevocation(t *testing.T) {
	t.Parallel()
	s := simple(t)
	_, err := s.ci.ask(t, s.ci.request(s.address, 1))
	check(t, err)
	if n := s.conns.count(); n != 1 {
		t.Fatalf("%d connections", n)
	}
	s.SetPolicy(s.policyOf(t))
	eventually(t, func() bool { return s.conns.count() == 0 })
	_, err = s.ci.ask(t, s.ci.request(s.address, 1))
	refused(t, err, protocol.UnknownRequester, "")
}

// TestPanicsAreReported checks that a panic in a handler costs one request, and is noted.
func TestPanicsAreReported(t *testing.T) {
	t.Parallel()
	s := simple(t)
	p := s.policyOf(t, s.ci.requester("ci"))
	p.Judge = nil
	s.SetPolicy(p)
	if _, err := s.ci.ask(t, s.ci.request(s.address, 1)); err == nil {
		t.Error("signed without a judge")
	}
	eventually(t, func() bool { return strings.Contains(s.noted(), "panic serving") })
	s.SetPolicy(s.policyOf(t, s.ci.requester("ci")))
	_, err := s.ci.ask(t, s.ci.request(s.address, 1))
	check(t, err)
}

// eventually waits until a condition is met.
func eventually(t testing.TB, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func TestLogFailures(t *testing.T) {
	t.Parallel()
	s := simple(t)
	released := 0
	s.judge.released = func() { released++ }
	full := errors.New("/var/lib/log: no space left on device")
	s.log.fail(full, nil)
	_, reply, err := s.ci.post(bytes.NewReader(s.ci.seal(t, s.ci.request(s.address, 1))))
	refused(t, err, protocol.LogFailed, "log")
	if strings.Contains(err.Error(), "/var/lib") || reply.after == "" {
		t.Errorf("got %v, %+v", err, reply)
	}
	if got := s.key.meter.signatures.Load(); got != 0 {
		t.Errorf("%d signatures without a record", got)
	}
	if why := s.Unready(); !strings.Contains(why, "log") {
		t.Errorf("ready, %q", why)
	}
	s.log.fail(nil, full)
	_, err = s.ci.ask(t, s.ci.request(s.address, 1))
	refused(t, err, protocol.LogFailed, "log")
	s.log.fail(nil, nil)
	_, err = s.ci.ask(t, s.ci.request(s.address, 1))
	check(t, err)
	if released != 2 || !strings.Contains(s.noted(), "no space left") {
		t.Errorf("released %d times; %s", released, s.noted())
	}
}

// TestRefusalsAreBounded sends many wrong requests: most have no record of their own, but all are counted.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	s := simple(t)
	s.judge.refusal = protocol.Refuse(protocol.NoRule, "no rule")
	const n = 25
	for range n {
		_, err := s.ci.ask(t, s.ci.request(s.address, 1024))
		refused(t, err, protocol.NoRule, "")
	}
	s.records.flush(t.Context(), time.Time{})
	var counted uint64
	records := s.log.all()
	for _, r := range records {
		counted += 1 + r.More
	}
	if counted != n || len(records) != maxEvents+1 {
		t.Errorf("%d records count %d refusals", len(records), counted)
	}
	for _, details := range s.log.details {
		if len(details) > maxRefusedDetails {
			t.Errorf("details of a refusal have %d bytes", len(details))
		}
	}
	if lines := strings.Count(s.noted(), "\n") + 1; lines != maxEvents+1 {
		t.Errorf("%d lines", lines)
	}
}
