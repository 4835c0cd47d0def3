package signd

import (
	"net/http"
	"slices"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// keyInfo answers with the description of a key.
func (s *Server) keyInfo(w http.ResponseWriter, r *http.Request) {
	p := s.policy.Load()
	requesters, refusal := s.peer(p, r)
	if refusal != nil {
		s.refuse(w, r, nil, refusal, 0)
		return
	}
	key, known := s.keys[r.PathValue("name")]
	if !known {
		s.refuse(w, r, nil, protocol.Refuse(protocol.UnknownKey, "there is no key %s", r.PathValue("name")), 0)
		return
	}
	info := protocol.KeyInfo{Version: protocol.Version, Name: key.name, SPKI: key.der, Log: s.logKey}
	if cert := key.public.Certificate(); cert != nil {
		info.Certificate = cert.Raw
	}
	for _, requester := range requesters {
		info.Headers = info.Headers || p.Judge.WantsHeaders(requester.Name, key.name)
	}
	body, err := info.Encode()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	respond(w, http.StatusOK, body)
}

// auditors lets only requesters through that may read the log.
func (s *Server) auditors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requesters, refusal := s.peer(s.policy.Load(), r)
		if refusal == nil && !slices.ContainsFunc(requesters, func(q *Requester) bool { return q.Audit }) {
			refusal = protocol.Refuse(protocol.NoRule, "requester %s may not read the log", requesters[0].Name)
		}
		if refusal != nil {
			s.refuse(w, r, nil, refusal, 0)
			return
		}
		leave, ok := s.readers.enter(r.Context(), SPKI(r.TLS.PeerCertificates[0]))
		if !ok {
			return // the client is gone
		}
		defer leave()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // HTTP/2 has deadlines
		r.Body = http.MaxBytesReader(w, r.Body, protocol.MaxBody)
		next.ServeHTTP(w, r)
	})
}
