package setup_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/setup"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
)

func options() setup.Options {
	return setup.Options{Key: config.Key{Name: "image", URI: "file:/keys/with space: and #\u202e\x01ä.key", Certificate: "/keys/x509_ima.crt"}, Forms: []string{"v2"}, Listen: "127.0.0.1:7443", Metrics: "127.0.0.1:9443"}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "service")
	s, err := setup.Init(t.Context(), dir, options())
	check(t, err)
	if want := "https://127.0.0.1:7443/image?ca=" + dir + "/requester/ca.crt&identity=" + dir + "/requester/identity.pem&log=" + dir + "/requester/log.pub"; s.URI != want {
		t.Errorf("got %s, want %s", s.URI, want)
	}
	c, err := config.Read(t.Context(), s.Files[0])
	check(t, err)
	if c.Keys[0].URI != options().Key.URI || !slices.Equal(c.Audiences, []string{"127.0.0.1:7443", "localhost:7443"}) || c.Rules[0].Forms == nil {
		t.Errorf("got %+v", c)
	}
	modes(t, dir)
	secret, err := os.ReadFile(filepath.Join(dir, "log.key"))
	check(t, err)
	signer, err := note.NewSigner(strings.TrimSpace(string(secret)))
	check(t, err)
	log, err := translog.Open(t.Context(), c.Path(c.Log.Directory), signer, translog.Options{})
	check(t, err)
	check(t, log.Close())
	handshake(t, dir, c)
}

// modes checks that nobody else can read private files.
func modes(t testing.TB, dir string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		check(t, err)
		info, err := d.Info()
		check(t, err)
		want := fs.FileMode(0o600)
		switch {
		case d.IsDir():
			want = 0o700
		case strings.HasSuffix(path, ".crt"), strings.HasSuffix(path, ".pub"):
			want = 0o644
		case strings.HasPrefix(path, filepath.Join(dir, "log")+"/"):
			return nil
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return nil
	}))
}

// handshake connects the requester to the server, with the files of the service.
func handshake(t testing.TB, dir string, c *config.Config) {
	t.Helper()
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls/server.crt"), filepath.Join(dir, "tls/server.key"))
	check(t, err)
	client, err := tls.LoadX509KeyPair(filepath.Join(dir, "requester/identity.pem"), filepath.Join(dir, "requester/identity.pem"))
	check(t, err)
	if signd.SPKI(client.Leaf) != c.Requesters[0].Certificate {
		t.Error("the client certificate is not bound to the requester")
	}
	pool := func(name string) *x509.CertPool {
		pool := x509.NewCertPool()
		data, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		pool.AppendCertsFromPEM(data)
		return pool
	}
	a, b := net.Pipe()
	defer a.Close()
	for _, name := range []string{"localhost", "127.0.0.1"} {
		check(t, server.Leaf.VerifyHostname(name))
	}
	ended := make(chan error, 1)
	go func() {
		ended <- tls.Server(b, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool("tls/ca.crt")}).Handshake()
	}()
	check(t, tls.Client(a, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{client}, RootCAs: pool("requester/ca.crt"), ServerName: "localhost"}).Handshake())
	go func() { _, _ = a.Read(make([]byte, 1)) }() // session tickets
	check(t, <-ended)
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "service")
	check(t, os.Mkdir(dir, 0o700))
	if _, err := setup.Init(t.Context(), dir, options()); !errors.Is(err, setup.ErrExists) {
		t.Errorf("got %v", err)
	}
	check(t, os.Remove(dir))
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := setup.Init(ctx, dir, options()); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	for _, listen := range []string{"", ":7443", "0.0.0.0:7443", "[::]:7443", "localhost"} {
		o := options()
		o.Listen = listen
		if _, err := setup.Init(t.Context(), dir, o); !errors.Is(err, setup.ErrListen) {
			t.Errorf("%q: got %v", listen, err)
		}
	}
	o := options()
	o.Key.Name = "../x"
	if _, err := setup.Init(t.Context(), dir, o); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	o = options()
	o.Key.URI = "file:/\xff"
	if _, err := setup.Init(t.Context(), dir, o); err == nil {
		t.Error("a path that is not UTF-8 is written")
	}
	entries, err := os.ReadDir(parent)
	check(t, err)
	if len(entries) > 0 {
		t.Errorf("%v is left", entries)
	}
}
