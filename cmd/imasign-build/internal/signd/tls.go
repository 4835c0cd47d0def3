package signd

import (
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// tlsConfig returns the configuration for handshakes. Each takes the certificates of the
// current policy.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			p := s.policy.Load()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
				Certificates: []tls.Certificate{p.Certificate},
				ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: p.clients(),
				// Connections live long. A resumed one would keep the verdict about an old certificate.
				SessionTicketsDisabled: true,
				VerifyConnection: func(state tls.ConnectionState) error {
					if len(state.PeerCertificates) == 0 {
						return errors.New("no client certificate")
					}
					spki := SPKI(state.PeerCertificates[0])
					return s.conns.identify(hello.Conn, spki, len(p.byCertificate(spki)) > 0)
				},
			}, nil
		},
	}
}

// peer returns the requesters with the client certificate of a request. It refuses a
// certificate that has expired since the handshake, and one of nobody.
func (s *Server) peer(p *Policy, r *http.Request) (list []*Requester, refusal *protocol.RefusedError) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, protocol.Refuse(protocol.WrongCertificate, "there is no client certificate")
	}
	cert := r.TLS.PeerCertificates[0]
	if time.Now().After(cert.NotAfter) {
		return nil, protocol.Refuse(protocol.WrongCertificate, "the client certificate of %q expired on %s", cert.Subject, cert.NotAfter.UTC().Format(time.DateOnly))
	}
	list = p.byCertificate(SPKI(cert))
	if len(list) == 0 {
		return nil, protocol.Refuse(protocol.UnknownRequester, "no requester has the client certificate of %q", cert.Subject)
	}
	for _, requester := range list {
		s.expiry.Store(requester.Name, cert.NotAfter)
	}
	return list, nil
}
