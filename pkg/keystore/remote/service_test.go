package remote_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log" //nolint:depguard // silences the server
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority issues certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return &authority{key, cert}
}

// issue makes a certificate for a key, valid for an hour from start.
func (a *authority) issue(t *testing.T, name string, public crypto.PublicKey, start time.Time) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: start, NotAfter: start.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, SubjectKeyId: serial.Bytes(),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, public, a.key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

func pemOf(t *testing.T, blocks ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, b := range blocks {
		switch b := b.(type) {
		case *x509.Certificate:
			check(t, pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: b.Raw}))
		case crypto.Signer:
			der, err := x509.MarshalPKCS8PrivateKey(b)
			check(t, err)
			check(t, pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
	}
	return out.Bytes()
}

// world has the keys, certificates and files of a test.
type world struct {
	t         *testing.T
	dir       string
	authority *authority
	requester ed25519.PrivateKey
	key       *ecdsa.PrivateKey // that signs for IMA
	cert      *x509.Certificate // its certificate
	public    *ima.PublicKey
	warnings  []string
	mu        sync.Mutex
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), authority: newAuthority(t)}
	var err error
	_, w.requester, err = ed25519.GenerateKey(rand.Reader)
	check(t, err)
	w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	w.cert = w.authority.issue(t, "image", w.key.Public(), time.Now().Add(-time.Minute))
	w.public, err = ima.CertificateKey(w.cert)
	check(t, err)
	w.file("identity.pem", pemOf(t, w.requester, w.authority.issue(t, "ci", w.requester.Public(), time.Now().Add(-time.Minute))))
	w.file("ca.pem", pemOf(t, w.authority.cert))
	return w
}

func (w *world) file(name string, data []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	check(w.t, os.WriteFile(path, data, 0o600))
	return path
}

// uri names the key on servers.
func (w *world) uri(attributes string, servers ...*service) string {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, s.address())
	}
	return "https://" + strings.Join(hosts, ",") + "/image?identity=" + w.dir + "/identity.pem&ca=" + w.dir + "/ca.pem" + attributes
}

func (w *world) options() keystore.Options {
	return keystore.Options{Certificate: w.cert, Warn: func(text string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.warnings = append(w.warnings, text)
	}}
}

// warned returns the warnings so far.
func (w *world) warned() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.warnings)
}

// open opens the key, which is closed at the end of the test.
func (w *world) open(uri string, o keystore.Options) *keystore.Key {
	w.t.Helper()
	key, err := remote.New(nil).Open(w.t.Context(), uri, o)
	check(w.t, err)
	w.t.Cleanup(func() { check(w.t, key.Close()) })
	return key
}

// sign makes and verifies values for n digests.
func (w *world) sign(key *keystore.Key, n int) ([][]byte, error) {
	return ima.Sign(w.t.Context(), key, w.public, ima.ContentSignature(), ima.SHA256, digests(n))
}

func digests(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		d := sha256.Sum256(fmt.Append(nil, i))
		list[i] = d[:]
	}
	return list
}

// service is a small signing service with one key, and a log in memory.
type service struct {
	*httptest.Server

	w      *world
	logKey note.Signer
	verify string // the key of the log

	mu       sync.Mutex
	requests []*protocol.Request
	details  int // number of answers about the key
	hashes   []tlog.Hash
	records  int64

	// What a test changes. sign may be nil.
	headers  bool
	audience string
	key      crypto.Signer
	info     func(*protocol.KeyInfo)
	before   func(http.ResponseWriter, *http.Request) bool // true: it has answered
	refuse   func(*protocol.Request) *protocol.RefusedError
	change   func(*protocol.Answer)
	record   func(*protocol.Record)
}

func (s *service) address() string { return s.Listener.Addr().String() }

// start starts a service. configure may change it before.
func (w *world) start(configure ...func(*service)) *service {
	w.t.Helper()
	s := &service{w: w, key: w.key}
	secret, verify, err := note.GenerateKey(rand.Reader, "log.example.com")
	check(w.t, err)
	s.verify = verify
	s.logKey, err = note.NewSigner(secret)
	check(w.t, err)
	s.Server = httptest.NewUnstartedServer(s.handler())
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(w.t, err)
	cert := w.authority.issue(w.t, "server", private.Public(), time.Now().Add(-time.Minute))
	pool := x509.NewCertPool()
	pool.AddCert(w.authority.cert)
	s.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: private}},
	}
	for _, c := range configure {
		c(s)
	}
	s.StartTLS()
	w.t.Cleanup(s.Close)
	return s
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+protocol.KeyPath+"{name}", s.describe)
	mux.HandleFunc("POST "+protocol.SignPath, s.sign)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.before == nil || !s.before(w, r) {
			mux.ServeHTTP(w, r)
		}
	})
}

func answer(w http.ResponseWriter, status int, body []byte, err error) {
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", protocol.ContentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, r *protocol.RefusedError) {
	body, err := r.Encode()
	answer(w, r.Code.Status(), body, err)
}

func (s *service) describe(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.details++
	if r.PathValue("name") != "image" {
		refuse(w, protocol.Refuse(protocol.UnknownKey, "there is no key %s", r.PathValue("name")))
		return
	}
	info := &protocol.KeyInfo{Version: protocol.Version, Name: "image", SPKI: s.w.cert.RawSubjectPublicKeyInfo, Certificate: s.w.cert.Raw, Log: s.verify, Headers: s.headers}
	if s.info != nil {
		s.info(info)
	}
	body, err := info.Encode()
	answer(w, http.StatusOK, body, err)
}

func (s *service) sign(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, protocol.MaxBody+1))
	if err != nil {
		return
	}
	request, err := protocol.Open(body)
	if err != nil {
		refuse(w, protocol.Refuse(protocol.Malformed, "%v", err))
		return
	}
	if request.Audience != cmp.Or(s.audience, s.address()) || !bytes.Equal(request.Requester, s.w.requester.Public().(ed25519.PublicKey)) {
		refuse(w, protocol.Refuse(protocol.WrongAudience, "it is for %s", request.Audience))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, request)
	if s.refuse != nil {
		if refusal := s.refuse(request); refusal != nil {
			refuse(w, refusal)
			return
		}
	}
	a := s.grant(r.Context(), request)
	if s.change != nil {
		s.change(a)
	}
	encoded, err := a.Encode()
	answer(w, http.StatusOK, encoded, err)
}

// grant signs a request and appends it to the log.
func (s *service) grant(ctx context.Context, r *protocol.Request) *protocol.Answer {
	form, err := r.Form()
	if err != nil {
		panic(err)
	}
	signer := ima.FromRaw(ima.CryptoSigner(s.key), s.w.public)
	signatures, err := signer.Sign(ctx, form, ima.HashID(r.Hash), r.Split())
	if err != nil {
		panic(err)
	}
	spki := sha256.Sum256(s.w.cert.RawSubjectPublicKeyInfo)
	var leaves []tlog.Hash
	for i, digest := range r.Split() {
		leaves = append(leaves, protocol.Leaf(spki, r.Type, r.Signature, r.Hash, digest, signatures[i]))
	}
	root := protocol.Root(leaves)
	record := &protocol.Record{
		Version: protocol.Version, Time: time.Now().Unix(), Requester: "ci", RequesterKey: r.Requester, ID: r.ID, Key: r.Key, SPKI: spki[:],
		Type: r.Type, Signature: r.Signature, Hash: r.Hash, Digests: uint64(len(leaves)), Rule: "all", Root: root[:], Details: make([]byte, 32),
	}
	if s.record != nil {
		s.record(record)
	}
	encoded, err := record.Encode()
	if err != nil {
		panic(err)
	}
	return &protocol.Answer{Version: protocol.Version, ID: r.ID, Signatures: signatures, Receipt: protocol.Receipt{Record: encoded, Proof: s.log(encoded)}}
}

// log appends a record and returns the proof.
func (s *service) log(record []byte) string {
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, s.hashes[i])
		}
		return list, nil
	})
	more, err := tlog.StoredHashes(s.records, record, reader)
	if err != nil {
		panic(err)
	}
	index := s.records
	s.hashes, s.records = append(s.hashes, more...), s.records+1
	root, err := tlog.TreeHash(s.records, reader)
	if err != nil {
		panic(err)
	}
	proof, err := tlog.ProveRecord(s.records, index, reader)
	if err != nil {
		panic(err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", s.logKey.Name(), s.records, base64.StdEncoding.EncodeToString(root[:]))}, s.logKey)
	if err != nil {
		panic(err)
	}
	text := fmt.Sprintf("c2sp.org/tlog-proof@v1\nindex %d\n", index)
	for _, h := range proof {
		text += base64.StdEncoding.EncodeToString(h[:]) + "\n"
	}
	return text + "\n" + string(signed)
}

// count returns the numbers of requests and of their digests.
func (s *service) count() (requests, digests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		digests += len(r.Split())
	}
	return len(s.requests), digests
}
