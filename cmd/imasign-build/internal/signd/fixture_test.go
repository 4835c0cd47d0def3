package signd

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return &authority{cert, key}
}

// issue returns a certificate for a client or a server, valid for so long.
func (a *authority) issue(t testing.TB, key crypto.Signer, usage x509.ExtKeyUsage, valid time.Duration) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	check(t, err)
	leaf, err := x509.ParseCertificate(der)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// client is a requester with its connection.
type client struct {
	http *http.Client
	cert tls.Certificate
	key  ed25519.PrivateKey
	url  string
}

func (a *authority) client(t testing.TB, address string) *client {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return a.clientWith(t, address, key, time.Hour)
}

func (a *authority) clientWith(t testing.TB, address string, key ed25519.PrivateKey, valid time.Duration) *client {
	t.Helper()
	c := &client{key: key, cert: a.issue(t, key, x509.ExtKeyUsageClientAuth, valid), url: "https://" + address}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{c.cert}, MinVersion: tls.VersionTLS13}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	c.http = &http.Client{Transport: transport, Timeout: time.Minute}
	return c
}

func (c *client) requester(name string) Requester {
	return Requester{Name: name, Key: c.key.Public().(ed25519.PublicKey), Certificate: SPKI(c.cert.Leaf)}
}

// request returns a request for signatures of n digests.
func (c *client) request(audience string, n int) *protocol.Request {
	r := &protocol.Request{Version: protocol.Version, Audience: audience, Key: "image", Requester: c.key.Public().(ed25519.PublicKey), ID: make([]byte, protocol.IDSize),
		Time: time.Now().Unix(), Type: uint8(ima.TypeSignature), Signature: 2, Hash: uint8(ima.SHA256), Digests: make([]byte, 32*n)}
	_, _ = rand.Read(r.ID)
	_, _ = rand.Read(r.Digests)
	return r
}

func (c *client) seal(t testing.TB, r *protocol.Request) []byte {
	t.Helper()
	body, err := protocol.Seal(r, c.key)
	check(t, err)
	return body
}

// post sends a body, and returns what was answered.
func (c *client) post(body io.Reader) (*protocol.Answer, reply, error) {
	response, err := c.http.Post(c.url+protocol.SignPath, protocol.ContentType, body)
	if err != nil {
		return nil, reply{}, err
	}
	defer response.Body.Close()
	got := reply{response.StatusCode, response.Header.Get("Retry-After")}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, got, err
	}
	if got.status == http.StatusOK {
		answer, err := protocol.DecodeAnswer(data)
		return answer, got, err
	}
	refusal, err := protocol.DecodeRefusal(data)
	if err != nil {
		return nil, got, err
	}
	return nil, got, refusal
}

// reply is what an answer says beside its body.
type reply struct {
	status int
	after  string // Retry-After
}

func (c *client) ask(t testing.TB, r *protocol.Request) (*protocol.Answer, error) {
	t.Helper()
	answer, _, err := c.post(bytes.NewReader(c.seal(t, r)))
	return answer, err
}

// refused checks that an error is a refusal for a reason.
func refused(t testing.TB, err error, code protocol.Code, words string) {
	t.Helper()
	var refusal *protocol.RefusedError
	if !errors.As(err, &refusal) || refusal.Code != code || !strings.Contains(refusal.Message, words) {
		t.Errorf("got %v, want %s with %q", err, code, words)
	}
}

// memoryLog is a Log in memory.
type memoryLog struct {
	mu      sync.Mutex
	records []*protocol.Record
	details [][]byte
	full    error
	failing error
}

func (l *memoryLog) Reserve(int64) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return func() {}, l.full
}

func (l *memoryLog) Append(_ context.Context, record, details []byte) (string, error) {
	r, err := protocol.DecodeRecord(record)
	if err != nil {
		return "", err
	}
	if _, err := protocol.DecodeDetails(details); err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing != nil {
		return "", l.failing
	}
	l.records = append(l.records, r)
	l.details = append(l.details, details)
	return "proof", nil
}

func (l *memoryLog) all() []*protocol.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*protocol.Record(nil), l.records...)
}

func (l *memoryLog) fail(full, failing error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full, l.failing = full, failing
}

// judge grants everything, unless it has a refusal.
type judge struct {
	refusal  *protocol.RefusedError
	released func()
}

func (j *judge) Judge(context.Context, *protocol.Request, string, *ima.PublicKey, time.Time) (rules.Grant, error) {
	if j.refusal != nil {
		return rules.Grant{}, j.refusal
	}
	released := j.released
	if released == nil {
		released = func() {}
	}
	return rules.Grant{Rule: "all", Release: released}, nil
}

func (j *judge) WantsHeaders(string, string) bool { return false }

// service is a running server.
type service struct {
	*Server

	authority *authority
	address   string
	log       *memoryLog
	judge     *judge
	key       *Key
	ci        *client
	stop      context.CancelFunc
	ended     chan error

	mu    sync.Mutex
	notes []string
}

// slowKey signs as a token does that takes time, or has gone.
type slowKey struct {
	ima.RawSigner

	mu      sync.Mutex
	gate    chan struct{} // if it is not nil, each call waits for an element
	failing error
}

func (s *slowKey) SignRaw(ctx context.Context, h crypto.Hash, messages [][]byte) ([][]byte, error) {
	s.mu.Lock()
	gate, failing := s.gate, s.failing
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if failing != nil {
		return nil, failing
	}
	return s.RawSigner.SignRaw(ctx, h, messages)
}

func (s *slowKey) set(gate chan struct{}, failing error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate, s.failing = gate, failing
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

// keyOf returns a Key that signs with raw.
func keyOf(t testing.TB, name string, private *ecdsa.PrivateKey, raw ima.RawSigner, change func(*keystore.Key)) *Key {
	t.Helper()
	key, err := OpenKey(t.Context(), name, func(context.Context) (*keystore.Key, error) {
		public, err := ima.BareKey(private.Public())
		if err != nil {
			return nil, err
		}
		opened := keystore.NewKey(raw, public)
		if change != nil {
			change(opened)
		}
		return opened, nil
	})
	check(t, err)
	return key
}

// start runs a server with one key, image, and one requester, ci.
func start(t testing.TB, key *Key) *service {
	t.Helper()
	log := &memoryLog{}
	s := startWith(t, key, log)
	s.log = log
	return s
}

// startWith is start with a log.
func startWith(t testing.TB, key *Key, log Log) *service {
	t.Helper()
	a := newAuthority(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := &service{authority: a, address: listener.Addr().String(), judge: &judge{}, key: key, ended: make(chan error, 1)}
	s.ci = a.client(t, s.address)
	s.Server = New(Options{Keys: []*Key{key}, Log: log, LogKey: "log+key", Policy: s.policyOf(t, s.ci.requester("ci")), Note: func(line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notes = append(s.notes, line)
	}})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- s.Serve(ctx, listener, time.Minute) }()
	t.Cleanup(func() {
		stop()
		<-s.ended
		check(t, key.Close())
	})
	return s
}

func (s *service) policyOf(t testing.TB, requesters ...Requester) *Policy {
	t.Helper()
	return &Policy{Audiences: []string{s.address}, Requesters: requesters, Judge: s.judge, Certificate: s.authority.issue(t, ecKey(t), x509.ExtKeyUsageServerAuth, time.Hour), Authorities: []*x509.Certificate{s.authority.cert}}
}

func (s *service) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.notes, "\n")
}

// simple runs a server with a P-256 key.
func simple(t testing.TB) *service {
	t.Helper()
	private := ecKey(t)
	return start(t, keyOf(t, "image", private, ima.CryptoSigner(private), nil))
}
