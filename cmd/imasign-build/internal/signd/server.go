package signd

import (
	"bytes"
	"context"
	"errors"
	"log" //nolint:depguard // http.Server has only this way to tell about errors
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// Limits of connections and requests.
const (
	readTimeout   = 10 * time.Second // for all bytes of a request
	writeTimeout  = 30 * time.Second // for all bytes of an answer
	idleTimeout   = 5 * time.Minute
	pingAfter     = 15 * time.Second
	pingTimeout   = 15 * time.Second
	maxHeader     = 16 << 10
	maxStreams    = 16 // requests at a time on one connection
	connWindow    = 1 << 20
	streamWindow  = 256 << 10
	maxTrace      = 4 << 10         // bytes of the stack after a panic
	maxAnswerWait = 5 * time.Second // for the end of open connections when all batches are answered
)

// Options of [New].
type Options struct {
	Keys []*Key
	Log  Log
	// LogHandler serves the log, without [protocol.LogPath], to requesters that may audit it.
	LogHandler http.Handler
	// LogKey is the log's verifier key, which clients get with the description of a key.
	LogKey string
	Policy *Policy
	// Note takes a line about a refusal or a failure. Text from outside in it is not quoted.
	Note func(line string)
}

// Server is a signing service. [New] makes one.
type Server struct {
	keys     map[string]*Key
	log      Log
	logKey   string
	policy   atomic.Pointer[Policy]
	conns    *conns
	bodies   *budget
	answers  *budget
	readers  *readers
	opening  chan struct{} // limits the memory for requests that are decoded, which takes several times their size
	ids      *ids
	records  *recorder
	metrics  *metrics
	note     func(string)
	draining atomic.Bool
	batches  inFlight
	handler  http.Handler
	expiry   sync.Map // by the name of a requester, when the client certificate that it used last expires
}

// New returns a server. It is ready, and [Server.Serve] makes it reachable.
func New(o Options) *Server {
	s := &Server{
		keys: map[string]*Key{}, log: o.Log, logKey: o.LogKey, note: o.Note,
		conns: newConns(maxKnown, maxUnknown, maxPerCertificate), bodies: newBudget(maxBodies), answers: newBudget(maxAnswers), readers: newReaders(),
		opening: make(chan struct{}, min(runtime.GOMAXPROCS(0), 2)), ids: newIDs(maxIDs, maxIDs/2), metrics: newMetrics(),
	}
	for _, k := range o.Keys {
		s.keys[k.name] = k
		k.observe(s.metrics, s.note)
	}
	s.records = newRecorder(s)
	s.policy.Store(o.Policy)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+protocol.SignPath, s.sign)
	mux.HandleFunc("GET "+protocol.KeyPath+"{name}", s.keyInfo)
	if o.LogHandler != nil {
		mux.Handle(protocol.LogPath, s.auditors(http.StripPrefix(protocol.LogPath[:len(protocol.LogPath)-1], o.LogHandler)))
	}
	s.handler = mux
	return s
}

// Remember makes the server refuse the id of a request that it took before it was restarted. at
// is the time of the request's record. If a requester had more requests than are remembered, its
// requests are refused that are as old as those. Records are remembered before the server takes requests.
func (s *Server) Remember(requesterKey, id []byte, at time.Time) {
	s.ids.remember(requesterKey, id, at.Add(2*protocol.MaxAge), time.Now())
}

// Serve takes connections until ctx ends. Then it drains: it answers the batches that it took
// and refuses others, at most for grace. It closes the listener and returns nil if nothing was cut off.
func (s *Server) Serve(ctx context.Context, listener net.Listener, grace time.Duration) error {
	server := &http.Server{
		Handler: s.handler, ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		TLSConfig: s.tlsConfig(), Protocols: new(http.Protocols), ConnState: s.conns.changed,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: connWindow, MaxReceiveBufferPerStream: streamWindow,
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout,
		},
		ErrorLog: log.New(errorWriter{s}, "", 0),
	}
	server.Protocols.SetHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(s.conns.listener(listener), "", "") }()
	go s.records.flushAll(ctx)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	return s.drain(context.WithoutCancel(ctx), server, grace)
}

// drain ends the server.
func (s *Server) drain(ctx context.Context, server *http.Server, grace time.Duration) error {
	s.Drain()
	limit, stop := context.WithTimeout(ctx, grace)
	defer stop()
	err := s.batches.wait(limit)
	s.records.flush(ctx, time.Time{})
	closing, cancel := context.WithTimeout(ctx, maxAnswerWait)
	defer cancel()
	if closed := server.Shutdown(closing); closed != nil { // clients with idle streams are not waited for
		_ = server.Close()
	}
	if err != nil {
		return errors.New("batches were cut off: they took longer than the time to drain")
	}
	return nil
}

// Drain makes the server refuse new batches and tell monitoring that it is not ready.
func (s *Server) Drain() { s.draining.Store(true) }

// errorWriter takes what net/http would log. Failed handshakes are only counted: their texts are of
// no use to an operator, and one client could fill the journal. A panic is reported.
type errorWriter struct{ server *Server }

func (w errorWriter) Write(b []byte) (int, error) {
	w.server.metrics.connectionErrors.Add(1)
	if bytes.Contains(b, []byte("panic serving")) {
		w.server.records.note("panics", string(b[:min(len(b), maxTrace)]))
	}
	return len(b), nil
}

// respond writes an answer in CBOR.
func respond(w http.ResponseWriter, status int, body []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // HTTP/2 has deadlines
	w.Header().Set("Content-Type", protocol.ContentType)
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // the client may be gone; CBOR is no page for a browser
}
