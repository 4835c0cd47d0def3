package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// A server that does not answer is noticed within pingAfter and pingTimeout, and one that
// accepts no connection within connectTimeout.
const (
	connectTimeout = 3 * time.Second
	pingAfter      = 2 * time.Second
	pingTimeout    = 2 * time.Second
)

// errNotHTTP2 means that a server has TLS, but not the protocol inside.
var errNotHTTP2 = errors.New("it does not speak HTTP/2, so it is not a signing service")

// Client returns an HTTP client for the service of a URI, and the servers, as HOST:PORT. The
// URI is that of a key, or has no name of a key. Errors of the client say what to do about a
// failed handshake. decrypt and errors are those of [New].
func Client(ctx context.Context, uri string, decrypt func(ctx context.Context, name string, der []byte, secret keystore.Secret) ([]byte, error), opts keystore.Options) (*http.Client, []string, error) {
	l, err := parseURI(uri)
	if err != nil {
		return nil, nil, err
	}
	client, _, err := opener{decrypt}.client(ctx, l, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", l, err)
	}
	return client, l.servers, nil
}

func (o opener) client(ctx context.Context, l *location, opts keystore.Options) (*http.Client, *identity, error) {
	who, err := o.identify(ctx, l, opts)
	if err != nil {
		return nil, nil, err
	}
	roots, err := o.authorities(ctx, l, opts)
	if err != nil {
		return nil, nil, err
	}
	return newClient(who, roots), who, nil
}

// newClient returns a client that speaks HTTP/2 over TLS 1.3, directly, and follows no
// redirects. Certificates are verified for the host of the URL.
func newClient(who *identity, roots *x509.CertPool) *http.Client {
	var only http.Protocols
	only.SetHTTP2(true)
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	return &http.Client{
		Transport: explaining{&http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTimeout,
			Protocols: &only, DisableCompression: true, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{
				MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{who.certificate},
				VerifyConnection: func(s tls.ConnectionState) error {
					if s.NegotiatedProtocol != "h2" {
						return errNotHTTP2
					}
					return nil
				},
			},
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter + pingTimeout},
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// explaining is a transport whose errors say what to do about a failed handshake.
type explaining struct{ *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (e explaining) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := e.Transport.RoundTrip(r)
	if err != nil {
		return nil, explainTLS(err)
	}
	return response, nil
}
