// Package setup makes a small signing service that works: its configuration, certificates for TLS,
// the log and its key, and what one build host needs.
//
// The certificates are for TLS alone. The signing key exists already; the configuration names it.
package setup

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
)

// Requester is the name of the requester that a new service has.
const Requester = "build"

// ErrExists means that the directory exists.
var ErrExists = errors.New("it exists already, and nothing was changed")

// ErrListen means an address by which no client can call the service.
var ErrListen = errors.New("not an address for clients")

// Options describe a new service.
type Options struct {
	// Key is the signing key, with absolute paths.
	Key config.Key
	// Forms are the names of the forms that the requester may have signed.
	Forms []string
	// Listen is the address for clients, Metrics that for monitoring.
	Listen, Metrics string
}

// Service is a service that was made.
type Service struct {
	// URI is that of --key, for the requester.
	URI string
	// Files are its files, the configuration first.
	Files []string
}

// Init makes a service in dir, which must not exist: whole or not at all. Errors wrap [ErrExists] or
// [ErrListen], or name the file that could not be written.
func Init(ctx context.Context, dir string, o Options) (*Service, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if ip := net.ParseIP(host); err != nil || host == "" || port == "" || ip != nil && ip.IsUnspecified() {
		return nil, fmt.Errorf("%q: %w: give the host and port by which clients call the service", o.Listen, ErrListen)
	}
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("%s: %w", dir, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".imasign-build-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(temporary) }() // it is incomplete, or no longer there
	w := &writer{ctx: ctx, dir: temporary}
	if err := w.service(host, o); err != nil {
		return nil, err
	}
	if err := publish(temporary, dir); err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, file := range map[string]string{"identity": "identity.pem", "ca": "ca.crt", "log": "log.pub"} {
		query.Set(name, filepath.Join(dir, "requester", file))
	}
	s := &Service{URI: "https://" + o.Listen + "/" + o.Key.Name + "?" + readable(query)}
	for _, name := range w.files {
		s.Files = append(s.Files, filepath.Join(dir, name))
	}
	return s, nil
}

// readable encodes a query and leaves slashes, which are allowed there.
func readable(query url.Values) string { return strings.ReplaceAll(query.Encode(), "%2F", "/") }

// publish renames the complete directory, unless one is there by now.
func publish(temporary, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temporary, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s: %w", dir, ErrExists)
	case err != nil:
		return fmt.Errorf("%s: %w", dir, err)
	}
	return syncDirectory(filepath.Dir(dir))
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writer writes the files of a service.
type writer struct {
	ctx   context.Context //nolint:containedctx // of the one call that it serves
	dir   string
	files []string
}

func (w *writer) service(host string, o Options) error {
	for _, name := range []string{"tls", "requester"} {
		if err := os.Mkdir(filepath.Join(w.dir, name), 0o700); err != nil {
			return err
		}
	}
	requester, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	audiences, names := callers(host, o.Listen)
	text, err := configuration(o, audiences, requester)
	if err != nil {
		return err
	}
	if err := w.write("serve.yaml", text, 0o600); err != nil {
		return err
	}
	if err := w.certificates(names, private); err != nil {
		return err
	}
	return w.log("imasign-build/" + o.Listen)
}

// callers returns the audiences of a server, and the names in its certificate. A server on a
// loopback address is also called localhost.
func callers(host, listen string) (audiences, names []string) {
	audiences, names = []string{listen}, []string{host}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		_, port, _ := net.SplitHostPort(listen)
		audiences, names = append(audiences, net.JoinHostPort("localhost", port)), append(names, "localhost")
	}
	return audiences, names
}

// certificates makes the CA, and certificates for the server and the requester.
func (w *writer) certificates(names []string, requester ed25519.PrivateKey) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	server, serverKey, err := ca.server(names)
	if err != nil {
		return err
	}
	client, err := ca.client(Requester, requester)
	if err != nil {
		return err
	}
	caKey, err := privatePEM(ca.key)
	if err != nil {
		return err
	}
	identity, err := privatePEM(requester)
	if err != nil {
		return err
	}
	root := certificatePEM(ca.certificate.Raw)
	for _, f := range []struct {
		name string
		data []byte
		perm fs.FileMode
	}{
		{"tls/ca.crt", root, 0o644}, {"tls/ca.key", caKey, 0o600}, {"tls/server.crt", certificatePEM(server), 0o644}, {"tls/server.key", serverKey, 0o600},
		{"requester/ca.crt", root, 0o644}, {"requester/identity.pem", append(identity, certificatePEM(client)...), 0o600},
	} {
		if err := w.write(f.name, f.data, f.perm); err != nil {
			return err
		}
	}
	return nil
}

// log makes the log and its key.
func (w *writer) log(name string) error {
	secret, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	if err := w.write("log.key", []byte(secret+"\n"), 0o600); err != nil {
		return err
	}
	if err := w.write("requester/log.pub", []byte(verifier+"\n"), 0o644); err != nil {
		return err
	}
	path := filepath.Join(w.dir, "log")
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	if err := translog.Create(path, signer); err != nil {
		return err
	}
	return syncDirectory(w.dir)
}

// write writes a new file and syncs it.
func (w *writer) write(name string, data []byte, perm fs.FileMode) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	w.files = append(w.files, name)
	return errors.Join(err, f.Sync(), f.Close(), syncDirectory(filepath.Dir(f.Name())))
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func privatePEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
