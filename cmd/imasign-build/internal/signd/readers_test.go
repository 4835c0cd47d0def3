package signd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

// TestSlowReadersOfTheLog has a client that asks for large answers and reads none: only a few of them are
// in memory, and another client still gets its own.
func TestSlowReadersOfTheLog(t *testing.T) {
	t.Parallel()
	s := simple(t)
	var held atomic.Int64
	handler := s.auditors(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		held.Add(1)
		_, _ = w.Write(bytes.Repeat([]byte{1}, 8<<20)) // more than any window
	}))
	s.handler.(*http.ServeMux).Handle(protocol.LogPath, handler)
	slow, other := s.authority.client(t, s.address), s.authority.client(t, s.address)
	a, b := slow.requester("slow"), other.requester("other")
	a.Audit, b.Audit = true, true
	s.SetPolicy(s.policyOf(t, a, b))
	for range 2 * maxReaders {
		go func() {
			response, err := slow.http.Get(slow.url + protocol.LogPath + "details/0")
			if err == nil {
				t.Cleanup(func() { response.Body.Close() })
			}
		}()
	}
	waiting := func() int {
		s.readers.mu.Lock()
		defer s.readers.mu.Unlock()
		if one := s.readers.each[a.Certificate]; one != nil {
			return one.users
		}
		return 0
	}
	eventually(t, func() bool { return waiting() == 2*maxReaders && held.Load() == maxReaders })
	response, err := other.http.Get(other.url + protocol.LogPath + "details/0")
	check(t, err)
	defer response.Body.Close()
	if data, err := io.ReadAll(response.Body); err != nil || len(data) != 8<<20 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if n := held.Load(); n != maxReaders+1 {
		t.Errorf("%d answers are in memory", n-1)
	}
}

// changing is a body during which something happens.
type changing struct {
	io.Reader

	change func()
}

func (c *changing) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		c.change()
	}
	return n, err
}

// TestPolicyChangesDuringABody judges a request by the rules that are in force when it is complete.
func TestPolicyChangesDuringABody(t *testing.T) {
	t.Parallel()
	s := simple(t)
	strict := s.policyOf(t, s.ci.requester("ci"))
	strict.Judge = &judge{refusal: protocol.Refuse(protocol.NoRule, "the rule is gone")}
	request := httptest.NewRequest(http.MethodPost, protocol.SignPath, &changing{bytes.NewReader(s.ci.seal(t, s.ci.request(s.address, 1))), func() { s.SetPolicy(strict) }})
	request.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{s.ci.cert.Leaf}}
	answer := httptest.NewRecorder()
	s.sign(answer, request)
	if refusal, err := protocol.DecodeRefusal(answer.Body.Bytes()); err != nil || refusal.Code != protocol.NoRule {
		t.Errorf("status %d, %v", answer.Code, err)
	}
}
