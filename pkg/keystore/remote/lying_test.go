package remote_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
)

// TestLyingServers checks that no signature is returned for what a server invents, and that
// the error says what is wrong. Receipts are verified.
func TestLyingServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	for name, c := range map[string]struct {
		lie  func(*service)
		want string
	}{
		"wrong signature":   {func(s *service) { s.key = other }, "the new signature is not valid with key"},
		"flipped bit":       {func(s *service) { s.change = func(a *protocol.Answer) { a.Signatures[1][20] ^= 1 } }, "the log has other signatures"},
		"of another digest": {func(s *service) { s.change = func(a *protocol.Answer) { a.Signatures[0] = a.Signatures[1] } }, "the log has other signatures"},
		"one too few":       {func(s *service) { s.change = func(a *protocol.Answer) { a.Signatures = a.Signatures[1:] } }, "2 signatures for 3 digests"},
		"one too many": {func(s *service) {
			s.change = func(a *protocol.Answer) { a.Signatures = append(a.Signatures, []byte{1}) }
		}, "4 signatures for 3 digests"},
		"large":              {func(s *service) { s.change = func(a *protocol.Answer) { a.Signatures[2] = make([]byte, 1000) } }, "a signature of 1000 bytes"},
		"to another request": {func(s *service) { s.change = func(a *protocol.Answer) { a.ID = make([]byte, 16) } }, "it answers another request"},
		"no receipt":         {func(s *service) { s.change = func(a *protocol.Answer) { a.Receipt = protocol.Receipt{} } }, "its receipt"},
		"forged record":      {func(s *service) { s.change = func(a *protocol.Answer) { a.Receipt.Record[5] ^= 1 } }, "is of another record"},
		"no proof":           {func(s *service) { s.change = func(a *protocol.Answer) { a.Receipt.Proof = "" } }, "not a proof"},
		"refusal in the log": {func(s *service) {
			s.record = func(r *protocol.Record) { r.Rule, r.Refusal, r.Root = "", protocol.NoRule, nil }
		}, "the log says that the request was refused"},
		"other requester":      {func(s *service) { s.record = func(r *protocol.Record) { r.RequesterKey = make([]byte, 32) } }, "the log has another request"},
		"other root":           {func(s *service) { s.record = func(r *protocol.Record) { r.Root = make([]byte, 32) } }, "the log has other signatures"},
		"giant":                {raw(http.StatusOK, protocol.ContentType, 9<<20), "more than 8388608 bytes"},
		"a web page":           {raw(http.StatusOK, "text/html", 10), `content type "text/html"`},
		"an error page":        {raw(http.StatusBadGateway, "text/html", 10), "HTTP status 502"},
		"no CBOR":              {raw(http.StatusOK, protocol.ContentType, 10), "not a valid message"},
		"refusal without code": {raw(http.StatusForbidden, protocol.ContentType, 0), "HTTP status 403"},
		"redirect":             {redirect, "HTTP status 307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.start(c.lie)
			path := w.file(strings.ReplaceAll(name, " ", "_")+".keys", []byte(s.verify))
			key := w.open(w.uri("&timeout=1m&log="+path, s), w.options())
			values, err := w.sign(key, 3)
			if values != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d values, %v, want %q", len(values), err, c.want)
			}
		})
	}
}

// raw answers requests for signatures with zeros.
func raw(status int, contentType string, size int) func(*service) {
	return only(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write(make([]byte, size))
	})
}

// redirect sends requests to another service, which would sign.
func redirect(s *service) {
	other := s.w.start()
	only(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})(s)
}

// only replaces the answers to requests for signatures.
func only(handle http.HandlerFunc) func(*service) {
	return func(s *service) {
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != protocol.SignPath {
				return false
			}
			handle(w, r)
			return true
		}
	}
}

// TestServersThatAreNotUsed checks what makes opening a key fail.
func TestServersThatAreNotUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, foreign := newWorld(t), newAuthority(t)
	expired := w.authority.issue(t, "old", w.requester.Public(), time.Now().Add(-2*time.Hour))
	w.file("expired.pem", pemOf(t, expired))
	w.file("foreign.pem", pemOf(t, foreign.issue(t, "ci", w.requester.Public(), time.Now().Add(-time.Minute))))
	w.file("foreign-ca.pem", pemOf(t, foreign.cert))
	for name, c := range map[string]struct {
		configure func(*service)
		uri       func(string) string
		is        error
		want      string
	}{
		"another key":         {func(s *service) { s.info = other.describes }, nil, keystore.ErrCertificateMismatch, "the server has another key"},
		"another certificate": {func(s *service) { s.info = func(i *protocol.KeyInfo) { i.Certificate = other.cert.Raw } }, nil, nil, "its certificate belongs to another key"},
		"another name":        {func(s *service) { s.info = func(i *protocol.KeyInfo) { i.Name = "boot" } }, nil, nil, "describes another key"},
		"no such key":         {nil, func(u string) string { return strings.Replace(u, "/image?", "/boot?", 1) }, keystore.ErrNotFound, "there is no key boot"},
		"HTTP/1.1":            {func(s *service) { s.EnableHTTP2 = false }, nil, nil, ""},
		"TLS 1.2":             {func(s *service) { s.TLS.MinVersion, s.TLS.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, nil, nil, "TLS 1.3"},
		"unknown authority":   {nil, func(u string) string { return strings.Replace(u, "ca.pem", "foreign-ca.pem", 1) }, nil, "ca=FILE names the authority"},
		"another host":        {nil, func(u string) string { return strings.Replace(u, "127.0.0.1", "localhost", 1) }, nil, "its certificate is refused"},
		"foreign certificate": {nil, func(u string) string { return u + "&client-cert=" + w.dir + "/foreign.pem" }, nil, "refuses the client certificate"},
		"expired certificate": {nil, func(u string) string { return u + "&client-cert=" + w.dir + "/expired.pem" }, nil, `the client certificate of "CN=old" expired on`},
		"no such server":      {nil, func(u string) string { return strings.Replace(u, "127.0.0.1", "127.0.0.2", 1) }, nil, "nothing listens there: start the service"},
		"unencrypted":         {func(s *service) { s.before = nil }, func(string) string { return plain(t, w) }, nil, "HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			configure := c.configure
			if configure == nil {
				configure = func(*service) {}
			}
			s := w.start(configure)
			uri := w.uri("&timeout=1s", s)
			if c.uri != nil {
				uri = c.uri(uri)
			}
			key, err := remote.New(nil).Open(t.Context(), uri, w.options())
			if key != nil || err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q, %v", err, c.want, c.is)
			}
			if requests, _ := s.count(); requests != 0 {
				t.Errorf("%d requests were sent", requests)
			}
		})
	}
}

// describes replaces a key by that of the world.
func (w *world) describes(i *protocol.KeyInfo) {
	i.SPKI, i.Certificate = w.cert.RawSubjectPublicKeyInfo, w.cert.Raw
}

// plain is the URI of a server without TLS.
func plain(t *testing.T, w *world) string {
	t.Helper()
	s := &service{w: w}
	server := http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String() + "/image?identity=" + w.dir + "/identity.pem&ca=" + w.dir + "/ca.pem"
}

// TestIdentities checks which files name a requester.
func TestIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	cert := w.authority.issue(t, "tls", private.Public(), time.Now().Add(-time.Minute))
	w.file("ec.pem", pemOf(t, private, cert))
	w.file("cert.pem", pemOf(t, cert))
	w.file("key.pem", pemOf(t, w.requester))
	w.file("two.pem", pemOf(t, w.requester, w.requester))
	w.file("empty.pem", nil)
	for attributes, want := range map[string]string{
		"identity=key.pem&client-cert=ec.pem":                     "",
		"identity=key.pem&client-cert=cert.pem&client-key=ec.pem": "",
		"identity=env:IDENTITY":                                   "",
		"identity=cred:identity.pem":                              "",
		"identity=key.pem":                                        "no client certificate",
		"identity=key.pem&client-cert=cert.pem":                   "is for another key",
		"identity=ec.pem":                                         "one Ed25519 private key",
		"identity=two.pem":                                        "more than one private key",
		"identity=empty.pem":                                      "no private key and no certificate",
		"identity=missing.pem":                                    "no such file",
		"identity=env:MISSING":                                    "it is not set",
		"identity=cred:a%2Fb":                                     "not a source",
		"identity=identity.pem&log=ca.pem":                        "a line is not the key of a log",
	} {
		attributes = strings.NewReplacer("=env:", "=env:", "=cred:", "=cred:", "=", "="+w.dir+"/").Replace(attributes)
		uri := "https://" + s.address() + "/image?ca=" + w.dir + "/ca.pem&" + attributes
		o := w.options()
		o.Getenv = func(name string) (string, bool) {
			value, ok := map[string]string{"IDENTITY": string(pemOf(t, w.requester, w.authority.issue(t, "ci", w.requester.Public(), time.Now()))), "CREDENTIALS_DIRECTORY": w.dir}[name]
			return value, ok
		}
		key, err := remote.New(nil).Open(t.Context(), uri, o)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", attributes, err, want)
		case err == nil:
			_, err := w.sign(key, 1)
			check(t, err)
			check(t, key.Close())
			if _, err := w.sign(key, 1); !errors.Is(err, keystore.ErrClosed) {
				t.Errorf("a closed key: %v", err)
			}
		}
	}
}

// TestALyingServerIsNamed checks that a run is told once of a server whose batches another one
// had to sign, that the server is not used again, and that no receipt of it is kept.
func TestALyingServerIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lie     func(*world, *service)
		want    string
		atFirst bool // known before the first batch
	}{
		"wrong signature": {func(w *world, s *service) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			check(w.t, err)
			s.key = key
		}, "a false answer: the new signature is not valid with key", false},
		"forged receipt": {func(_ *world, s *service) { s.change = func(a *protocol.Answer) { a.Receipt.Record[5] ^= 1 } }, "a false answer: its receipt: ", false},
		"another key":    {func(w *world, s *service) { s.info = newWorld(w.t).describes }, "the server has another key", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			liar, good := w.start(func(s *service) { c.lie(w, s) }), w.start()
			options := w.options()
			var receipts []keystore.Receipt
			options.Receipt = func(r keystore.Receipt) { receipts = append(receipts, r) }
			logs := w.file("logs", []byte(liar.verify+"\n"+good.verify))
			key := w.open(w.uri("&log="+logs, liar, good), options)
			for len(w.warned()) == 0 { // until the server was asked
				check(t, w.signMany(key, 8, 2))
			}
			before, _ := liar.count()
			check(t, w.signMany(key, 20, 2))
			after, _ := liar.count()
			if after != before || c.atFirst && after > 0 {
				t.Errorf("the server got %d batches, then %d", before, after)
			}
			want := fmt.Sprintf("(batches answered falsely: %d)", before)
			if c.atFirst {
				want = "this run does not use the server"
			}
			list := w.warned()
			if len(list) != 1 || !strings.HasPrefix(list[0], liar.address()+": ") || !strings.Contains(list[0], c.want) || !strings.HasSuffix(list[0], want) {
				t.Errorf("warnings %q, want %q and %q", list, c.want, want)
			}
			for _, r := range receipts {
				if r.Server != good.address() {
					t.Errorf("there is a receipt of %s", r.Server)
				}
			}
			if n, _ := good.count(); len(receipts) != n {
				t.Errorf("%d receipts of %d batches", len(receipts), n)
			}
		})
	}
}
