package service

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// patience is how long a test waits for what must happen, on a machine that does other things.
const patience = time.Minute

// service is a signing service that `serve init` made, with one key and the requester build.
type service struct {
	testing.TB
	program string
	keys    string // the directory with the key
	dir     string // the one that serve init made
	address string // of clients: HOST:PORT
	monitor string // of monitoring
	output  string // file with the standard error of all its processes

	mu  sync.Mutex
	cmd *exec.Cmd
	end chan error // gets the result of cmd
}

// hosts counts the services. Each has a loopback address of its own, so that no other program
// can take its port while it is restarted.
var hosts atomic.Uint32

func host() string {
	n, pid := hosts.Add(1), uint32(os.Getpid())
	return fmt.Sprintf("127.%d.%d.%d", 1+pid>>7&127, 2*(pid&127)+n>>7&1, 1+n&127)
}

// newService makes a service, which is not started. flags are for `serve init`.
func newService(t testing.TB, keys string, flags ...string) *service {
	t.Helper()
	return serviceIn(t, filepath.Join(t.TempDir(), "service"), keys, flags...)
}

func serviceIn(t testing.TB, dir, keys string, flags ...string) *service {
	t.Helper()
	harness.Root(t)
	name := host()
	s := &service{
		TB: t, program: harness.Program(t), keys: keys, dir: dir, address: name + ":7443", monitor: name + ":9443",
		output: filepath.Join(t.TempDir(), "server.log"),
	}
	args := []string{"serve", "init", "--listen", s.address, "--metrics", s.monitor, "--cert", filepath.Join(keys, "x509_ima.crt")}
	if len(flags) == 0 {
		flags = []string{"--key", "image=" + keys}
	}
	harness.Must(t, s.program, append(append(args, flags...), s.dir)...)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log, _ := os.ReadFile(s.output)
			t.Logf("the server said:\n%s", log[max(0, len(log)-8000):])
		}
	})
	return s
}

// started makes a service and starts it.
func started(t testing.TB, keys string, flags ...string) *service {
	t.Helper()
	s := newService(t, keys, flags...)
	s.start()
	return s
}

func (s *service) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// start starts the server and waits until it is ready.
func (s *service) start() {
	s.Helper()
	s.launch()
	s.await("the server is ready", func() bool {
		select {
		case err := <-s.end:
			s.end <- err
			s.Fatalf("the server ended: %v\n%s", err, read(s, s.output))
		default:
		}
		return s.status("/readyz") == http.StatusOK
	})
}

// launch starts the server.
func (s *service) launch() {
	s.Helper()
	log, err := os.OpenFile(s.output, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(s, err)
	defer log.Close()
	cmd := exec.Command(s.program, "serve", s.path("serve.yaml"))
	cmd.Stderr = log
	check(s, cmd.Start())
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.end = cmd, end
}

// await waits until something is true.
func (s *service) await(what string, is func() bool) {
	s.Helper()
	for limit := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			s.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func (s *service) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig) // it may have ended
	}
}

// kill ends the server by SIGKILL.
func (s *service) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.end
		s.cmd = nil
	}
}

// stop ends the server by SIGTERM. It must exit with 0.
func (s *service) stop() {
	s.Helper()
	s.signal(syscall.SIGTERM)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case err := <-s.end:
		s.cmd = nil
		check(s, err)
	case <-time.After(2 * patience):
		s.Fatal("the server does not end")
	}
}

// reload makes the server read its configuration again.
func (s *service) reload() {
	s.Helper()
	before := strings.Count(read(s, s.output), "reloaded: ")
	s.signal(syscall.SIGHUP)
	s.await("the server has reloaded", func() bool { return strings.Count(read(s, s.output), "reloaded: ") > before })
}

// status returns the HTTP status of a path of monitoring, 0 if there is no answer.
func (s *service) status(path string) int {
	response, err := http.Get("http://" + s.monitor + path)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

// metric returns the sum of the values of a metric. prefix is its name, or its name and the
// beginning of its labels.
func (s *service) metric(prefix string) (sum float64) {
	s.Helper()
	response, err := http.Get("http://" + s.monitor + "/metrics")
	check(s, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(s, err)
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:len(line)-1], 64)
		check(s, err)
		sum += value
	}
	return sum
}

// pid is the process id of the server.
func (s *service) pid() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strconv.Itoa(s.cmd.Process.Pid)
}

// configure replaces parts of the configuration: old and new text in turn.
func (s *service) configure(pairs ...string) {
	s.Helper()
	text := read(s, s.path("serve.yaml"))
	for i := 0; i+1 < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			s.Fatalf("%q is not once in:\n%s", pairs[i], text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	write(s, s.path("serve.yaml"), text)
}

// rules replaces the rules, and adds requesters.
func (s *service) rules(requesters, rules string) {
	s.Helper()
	text, _, found := strings.Cut(read(s, s.path("serve.yaml")), "rules:\n")
	before, _, both := strings.Cut(text, "# The first rule")
	if !found || !both {
		s.Fatalf("no rules in:\n%s", text)
	}
	write(s, s.path("serve.yaml"), before+requesters+"rules:\n"+rules)
}

// key returns the --key of a requester, whose identity is in a file. more are attributes of the
// URI, such as "timeout=5s".
func (s *service) key(identity string, more ...string) string {
	return fmt.Sprintf("https://%s/image?%s", s.address, strings.Join(append([]string{
		"identity=" + identity, "ca=" + s.path("requester", "ca.crt"), "log=" + s.path("requester", "log.pub"),
	}, more...), "&"))
}

// build returns the --key of the requester that `serve init` made.
func (s *service) build(more ...string) string {
	return s.key(s.path("requester", "identity.pem"), more...)
}

// certificate is the signing key's.
func (s *service) certificate() string { return filepath.Join(s.keys, "x509_ima.crt") }

// client runs the program as a client: a command that signs with a key, its flags and arguments.
func (s *service) client(key, command string, args ...string) harness.Result {
	s.Helper()
	return harness.RunCommand(s, s.command(key, command, args...))
}

func (s *service) command(key, command string, args ...string) *exec.Cmd {
	all := append(strings.Fields(command), "--progress=none", "--key", key, "--cert", s.certificate())
	return exec.Command(s.program, append(all, args...)...)
}

// signed runs a client that must succeed.
func (s *service) signed(key, command string, args ...string) harness.Result {
	s.Helper()
	r := s.client(key, command, args...)
	if r.Code != 0 {
		s.Fatalf("%s %v: exit %d\n%s%s", command, args, r.Code, r.Out, r.Err)
	}
	return r
}

// refused runs a client that must fail. It must say all parts, and leave the tree as it is.
func (s *service) refused(key, tree string, parts ...string) {
	s.Helper()
	before := harness.Xattrs(s, tree)
	r := s.client(key, "rootfs sign", tree)
	if r.Code != 1 {
		s.Errorf("exit %d", r.Code)
	}
	demand(s, r.Err, parts...)
	if harness.Xattrs(s, tree) != before {
		s.Error("the tree was changed")
	}
}

// files makes a tree of n small files, no two of which are equal.
func files(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		path := filepath.Join(dir, strconv.Itoa(i/500), fmt.Sprint("file-", i))
		err := os.WriteFile(path, []byte(path), 0o644)
		if errors.Is(err, os.ErrNotExist) {
			check(t, os.Mkdir(filepath.Dir(path), 0o755))
			err = os.WriteFile(path, []byte(path), 0o644)
		}
		check(t, err)
	}
	return dir
}

// accepted fails the test unless evmctl accepts the signatures of all files of a tree.
func (s *service) accepted(tree string) {
	s.Helper()
	if bad := harness.Refused(s, filepath.Join(s.keys, "x509_ima.der"), harness.Inodes(s, tree)); len(bad) > 0 {
		s.Errorf("evmctl refuses %d files, such as %s", len(bad), bad[0])
	}
}
