package mirror_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestPeers fetches from web servers that are not written in Go.
func TestPeers(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), many)
	for name, command := range map[string]func(port string) *exec.Cmd{
		"busybox": func(port string) *exec.Cmd {
			return exec.Command("busybox", "httpd", "-f", "-p", "127.0.0.1:"+port, "-h", s.dir)
		},
		"python3": func(port string) *exec.Cmd {
			return exec.Command("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", s.dir, port)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			harness.Tool(t, name)
			address := start(t, command)
			cache := t.TempDir()
			for range 2 {
				m, w := open(t, "http://"+address, cache)
				if n := s.hits(t, m); n != many {
					t.Errorf("%d hits", n)
				}
				w.Check(t)
			}
			m, w := open(t, "http://"+address+"/nowhere", cache)
			s.hits(t, m)
			w.Check(t, "fetch ima-signatures.index: status 404 Not Found; it is not used")
		})
	}
}

// start starts a server on a free port, and returns its address.
func start(t testing.TB, command func(port string) *exec.Cmd) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := listener.Addr().String()
	check(t, listener.Close())
	_, port, _ := net.SplitHostPort(address)
	c := command(port)
	check(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if connection, err := net.Dial("tcp", address); err == nil {
			check(t, connection.Close())
			return address
		}
		if time.Now().After(deadline) {
			t.Fatal(c, "does not listen")
		}
	}
}

// TestTLS fetches from OpenSSL, whose certificate has an authority of its own. Programs get to
// know it by SSL_CERT_FILE.
func TestTLS(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "openssl")
	s := share(t, t.TempDir(), many)
	certificate, key := certify(t)
	address := start(t, func(port string) *exec.Cmd {
		c := exec.Command("openssl", "s_server", "-accept", port, "-cert", certificate, "-key", key, "-WWW", "-quiet")
		c.Dir = s.dir
		return c
	})
	_, port, _ := net.SplitHostPort(address)
	cache := t.TempDir()
	s.finds(t, s.process(t, "https://localhost:"+port, cache), "certificate", "it is not used")
	s.finds(t, s.process(t, "https://127.0.0.1:"+port, cache, "SSL_CERT_FILE="+certificate), "certificate", "it is not used")
	s.finds(t, s.process(t, "https://localhost:"+port, cache, "SSL_CERT_FILE="+certificate))
}

// certify returns the files of a certificate for localhost and of its key.
func certify(t testing.TB) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	check(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return certificate, key
}

// TestProxy has a proxy that asks for a password, which is in the variable.
func TestProxy(t *testing.T) {
	t.Parallel()
	s := share(t, t.TempDir(), 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	lines := make(chan string, 100)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			lines <- line
			fmt.Fprint(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		}
	}()
	for _, scheme := range []string{"http", "https"} {
		c := s.process(t, scheme+"://cache.example/ima", t.TempDir(), "http_proxy=http://u:secret@"+listener.Addr().String(), "https_proxy=http://u:secret@"+listener.Addr().String())
		s.finds(t, c, "cache mirror "+scheme+"://cache.example/ima: fetch ima-signatures.index: ", "Proxy Authentication Required")
		if line := <-lines; line == "" {
			t.Error("the proxy was not asked")
		}
	}
}
