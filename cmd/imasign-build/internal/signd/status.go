package signd

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// Status answers monitoring: /healthz, /readyz and /metrics. It needs no authentication, so it belongs on
// a loopback address.
func (s *Server) Status() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := s.Unready(); why != "" {
			text(w, http.StatusServiceUnavailable, why)
			return
		}
		text(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(s.exposition()))
	})
	return mux
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(line + "\n"))
}

// Unready returns why the server takes no batches, "" if it does.
func (s *Server) Unready() string {
	switch {
	case s.draining.Load():
		return "draining"
	case s.logDown():
		return "the log cannot be written"
	}
	for _, k := range s.keys {
		if k.down() == nil || k.due() {
			return ""
		}
	}
	return "no key can sign"
}

// logDown reports whether the log could not be written lately, and still cannot.
func (s *Server) logDown() bool {
	if !s.metrics.logDown.Load() {
		return false
	}
	release, err := s.log.Reserve(protocol.MaxDetails) // of any request
	if err != nil {
		return true
	}
	release()
	return false
}

// expiring is a certificate that expires.
type expiring struct {
	name    string
	expires time.Time
}

// certificates returns those of the server, its keys, the CAs of clients, and clients that were here.
func (s *Server) certificates() (list []expiring) {
	own := s.policy.Load().Certificate
	if leaf := own.Leaf; leaf != nil {
		list = append(list, expiring{"server", leaf.NotAfter})
	} else if len(own.Certificate) > 0 {
		if leaf, err := x509.ParseCertificate(own.Certificate[0]); err == nil {
			list = append(list, expiring{"server", leaf.NotAfter})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.keys)) {
		if cert := s.keys[name].public.Certificate(); cert != nil {
			list = append(list, expiring{"key " + name, cert.NotAfter})
		}
	}
	for i, ca := range s.policy.Load().Authorities {
		list = append(list, expiring{fmt.Sprintf("clients %d", i+1), ca.NotAfter})
	}
	for _, r := range s.policy.Load().Requesters {
		if expires, seen := s.expiry.Load(r.Name); seen {
			list = append(list, expiring{"requester " + r.Name, expires.(time.Time)})
		}
	}
	return list
}
