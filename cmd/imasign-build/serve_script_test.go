package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// scripted is a service that a script runs, under a systemd of the test.
type scripted struct {
	cmd    *exec.Cmd
	socket *net.UnixConn
	stderr bytes.Buffer
	last   []byte // the last request
}

// serviceValue is the key of the service in the values of a script.
const serviceValue = "service"

// serveCommands are commands of scripts with a service.
func serveCommands(bin string) map[string]func(*testscript.TestScript, bool, []string) {
	running := func(ts *testscript.TestScript) *scripted {
		return ts.Value(serviceValue).(*scripted)
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"ports":    freePorts,
		"notified": func(ts *testscript.TestScript, _ bool, args []string) { startNotified(ts, bin, args) },
		"ready":    func(ts *testscript.TestScript, _ bool, args []string) { running(ts).expect(ts, args[0]) },
		"signals": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(running(ts).cmd.Process.Signal(map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}[args[0]]))
		},
		"ended": func(ts *testscript.TestScript, _ bool, args []string) { running(ts).wait(ts, args[0]) },
		"ask": func(ts *testscript.TestScript, _ bool, args []string) {
			n, err := strconv.Atoi(args[0])
			ts.Check(err)
			running(ts).ask(ts, n, args[1])
		},
		"again": func(ts *testscript.TestScript, _ bool, args []string) {
			s := running(ts)
			s.post(ts, s.last, 0, args[0])
		},
	}
}

// freePorts sets PORT1 and PORT2 to ports that nobody uses: ports.
func freePorts(ts *testscript.TestScript, _ bool, _ []string) {
	for _, name := range []string{"PORT1", "PORT2"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		ts.Check(err)
		ts.Setenv(name, port)
	}
}

// startNotified runs a service in the background: notified imasign-build serve CONFIG. ready STATE then waits
// for what it tells systemd, ended CODE for its end.
func startNotified(ts *testscript.TestScript, bin string, args []string) {
	s := ts.Value(serviceValue).(*scripted)
	s.stderr.Reset()
	path := filepath.Join(ts.Getenv("WORK"), "notify")
	_ = os.Remove(path)
	var err error
	s.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	ts.Check(err)
	s.cmd = exec.Command(filepath.Join(bin, args[0]), args[1:]...)
	s.cmd.Dir, s.cmd.Stderr = ts.Getenv("WORK"), &s.stderr
	s.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=100000", "JOURNAL_STREAM=1:1")
	ts.Check(s.cmd.Start())
	cmd, socket := s.cmd, s.socket
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		_ = socket.Close()
	})
}

// expect waits for a state. Those of the watchdog may come before.
func (s *scripted) expect(ts *testscript.TestScript, state string) {
	ts.Check(s.socket.SetReadDeadline(time.Now().Add(30 * time.Second)))
	for {
		message := make([]byte, 4096)
		n, err := s.socket.Read(message)
		if err != nil {
			ts.Fatalf("no %s: %v\n%s", state, err, s.stderr.String())
		}
		first, _, _ := strings.Cut(string(message[:n]), "\n")
		switch first {
		case state:
			return
		case "WATCHDOG=1":
		default:
			ts.Fatalf("%s, not %s", first, state)
		}
	}
}

// wait waits for the end of the service, and gives its standard error to the script.
func (s *scripted) wait(ts *testscript.TestScript, code string) {
	err := s.cmd.Wait()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), "service.err"), s.stderr.Bytes(), 0o644))
	ts.Check(ts.Exec("sh", "-c", "cat service.err >&2"))
	if strconv.Itoa(got) != code {
		ts.Fatalf("exit code %d, not %s\n%s", got, code, s.stderr.String())
	}
}

// ask asks for n signatures, and expects "ok" or the code of a refusal.
func (s *scripted) ask(ts *testscript.TestScript, n int, want string) {
	pair := s.identity(ts)
	key := pair.PrivateKey.(ed25519.PrivateKey)
	r := &protocol.Request{
		Version: protocol.Version, Audience: "127.0.0.1:" + ts.Getenv("PORT1"), Key: "image", Requester: key.Public().(ed25519.PublicKey), ID: make([]byte, protocol.IDSize),
		Time: time.Now().Unix(), Type: uint8(ima.TypeSignature), Signature: 2, Hash: uint8(ima.SHA256), Digests: make([]byte, 32*n),
	}
	_, _ = rand.Read(r.ID)
	body, err := protocol.Seal(r, key)
	ts.Check(err)
	s.last = body
	s.post(ts, body, n, want)
}

func (s *scripted) identity(ts *testscript.TestScript) tls.Certificate {
	file := ts.MkAbs("service/requester/identity.pem")
	pair, err := tls.LoadX509KeyPair(file, file)
	ts.Check(err)
	return pair
}

func (s *scripted) post(ts *testscript.TestScript, body []byte, n int, want string) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile("service/requester/ca.crt")))
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{s.identity(ts)}}}
	defer transport.CloseIdleConnections()
	address := url.URL{Scheme: "https", Host: "127.0.0.1:" + ts.Getenv("PORT1"), Path: protocol.SignPath}
	response, err := (&http.Client{Transport: transport}).Post(address.String(), protocol.ContentType, bytes.NewReader(body))
	ts.Check(err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	ts.Check(err)
	got := "ok"
	if response.StatusCode == http.StatusOK {
		answer, err := protocol.DecodeAnswer(data)
		ts.Check(err)
		if len(answer.Signatures) != n {
			got = fmt.Sprintf("%d signatures", len(answer.Signatures))
		}
	} else {
		refusal, err := protocol.DecodeRefusal(data)
		ts.Check(err)
		got = string(refusal.Code)
	}
	if got != want {
		ts.Fatalf("%s, not %s", got, want)
	}
}
