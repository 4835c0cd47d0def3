package service

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// wire is a client that sends what a test wants.
type wire struct {
	*service
	who    *identity
	client *http.Client
}

// wire returns a client with the certificate of a requester.
func (s *service) wire(who *identity) *wire {
	s.Helper()
	return &wire{s, who, &http.Client{Transport: transport(s.tls(who)), Timeout: patience}}
}

func (s *service) tls(who *identity) *tls.Config {
	s.Helper()
	pair, err := tls.LoadX509KeyPair(who.file, who.file)
	check(s, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(s, s.path("requester", "ca.crt"))))
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: roots, NextProtos: []string{"h2"}}
}

func transport(c *tls.Config) *http.Transport {
	var only http.Protocols
	only.SetHTTP2(true)
	return &http.Transport{Protocols: &only, TLSClientConfig: c}
}

// own returns the identity that `serve init` made.
func (s *service) own() *identity {
	s.Helper()
	file := s.path("requester", "identity.pem")
	key, err := x509.ParsePKCS8PrivateKey(block(s, read(s, file)))
	check(s, err)
	return &identity{file, key.(ed25519.PrivateKey)}
}

// request returns a request for n random digests, which would be granted.
func (w *wire) request(n int) *protocol.Request {
	r := &protocol.Request{
		Version: protocol.Version, Audience: w.address, Key: "image", Requester: w.who.key.Public().(ed25519.PublicKey), ID: random(protocol.IDSize), Time: time.Now().Unix(),
		Type: uint8(ima.TypeSignature), Signature: 2, Hash: uint8(ima.SHA256), Digests: random(n * sha256.Size),
	}
	return r
}

func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // it never fails
	return data
}

func seal(t testing.TB, r *protocol.Request, key ed25519.PrivateKey) []byte {
	t.Helper()
	body, err := protocol.Seal(r, key)
	check(t, err)
	return body
}

// reply is what a server answers.
type reply struct {
	answer  *protocol.Answer
	refusal *protocol.RefusedError
	again   string // Retry-After
	err     error  // no answer
}

func (w *wire) ask(r *protocol.Request) reply {
	w.Helper()
	return w.post(seal(w, r, w.who.key))
}

func (w *wire) post(body []byte) reply { return w.send(context.Background(), body) }

func (w *wire) send(ctx context.Context, body []byte) (r reply) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+w.address+protocol.SignPath, bytes.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	request.Header.Set("Content-Type", protocol.ContentType)
	response, err := w.client.Do(request)
	if err != nil {
		return reply{err: err}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
	case response.StatusCode == http.StatusOK:
		r.answer, err = protocol.DecodeAnswer(data)
	default:
		r.refusal, err = protocol.DecodeRefusal(data)
		if err == nil && response.StatusCode != r.refusal.Code.Status() {
			w.Errorf("%v: HTTP status %d", r.refusal, response.StatusCode)
		}
	}
	r.again, r.err = response.Header.Get("Retry-After"), err
	return r
}

// is fails the test unless the request was refused with the code, or granted if it is "".
func (w *wire) is(r reply, code protocol.Code) {
	w.Helper()
	switch {
	case r.err != nil:
		w.Errorf("want %q: %v", code, r.err)
	case code == "" && r.refusal != nil, code != "" && (r.refusal == nil || r.refusal.Code != code):
		w.Errorf("want %q, got %v", code, r.refusal)
	}
}
