package mirror

import (
	"net/http"
	"time"
)

// SetTransport replaces how a mirror on a server is reached, so that tests trust their server.
func (m *Mirror) SetTransport(t http.RoundTripper) { m.source.(*web).client.Transport = t }

// SetLimits replaces the times that a server may take.
func (m *Mirror) SetLimits(stall, request, total time.Duration) {
	m.source.(*web).limits = limits{stall, request, total}
}

// Kept returns the directory of what was fetched.
func (m *Mirror) Kept() string { return m.source.(*web).keep }
