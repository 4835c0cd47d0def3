package bitbake

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// signerUID is the user id and group id of the signing service.
const signerUID = 4713

// patience is how long the tests wait for the signing service, on a machine that does other things.
const patience = time.Minute

// signer is a signing service with an ECDSA key. Its signatures are random.
type signer struct {
	*lab
	dir     string // the user who builds cannot enter it
	address string
	output  string // the file with the service's standard error
	cmd     *exec.Cmd
}

// newSigner makes a signing service. What its requester needs is in the lab, in requester.
func newSigner(t *testing.T, l *lab) *signer {
	t.Helper()
	dir, err := os.MkdirTemp("", "imasign-signer-*")
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{lab: l, dir: dir, address: freeAddress(t), output: filepath.Join(t.TempDir(), "output")}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the signing service said:\n%s", tail(read(t, s.output)))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	harness.Must(t, "install", "-m", "0755", harness.Program(t), s.program())
	keys := filepath.Join(dir, "keys")
	harness.Must(t, s.program(), "key", "init", "--algorithm", "p256", keys)
	harness.Must(t, s.program(), "serve", "init", "--key", "image="+keys, "--cert", keys, "--listen", s.address, "--metrics", "", s.file(""))
	harness.Must(t, "mv", s.file("requester"), s.path("requester"))
	harness.Must(t, "cp", filepath.Join(keys, "x509_ima.crt"), filepath.Join(keys, "x509_ima.der"), s.path("requester"))
	s.mayUse(t, "requester")
	harness.Must(t, "chown", "-R", fmt.Sprintf("%d:%d", signerUID, signerUID), dir)
	return s
}

func (s *signer) program() string { return filepath.Join(s.dir, "imasign-build") }

// file returns the path of a file that serve init made.
func (s *signer) file(name string) string { return filepath.Join(s.dir, "service", name) }

// mayUse gives a directory of the lab to the user who builds. The identity in it is a secret.
func (s *signer) mayUse(t *testing.T, name string) {
	t.Helper()
	harness.Must(t, "chown", "-R", fmt.Sprintf("%d:%d", uid, uid), s.path(name))
	s.secrets = append(s.secrets, secretsOf(t, s.path(name+"/identity.pem"))...)
}

// freeAddress returns a loopback address where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.47.13.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody has connected
	return l.Addr().String()
}

// start starts the service and waits until it listens.
func (s *signer) start(t *testing.T) {
	t.Helper()
	output, err := os.OpenFile(s.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close() // the service has it
	s.cmd = exec.Command(s.program(), "serve", s.file("serve.yaml"))
	s.cmd.Stderr, s.cmd.Env = output, []string{"LANG=C.UTF-8"}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: signerUID, Gid: signerUID}}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "it listens", func() bool {
		c, err := net.Dial("tcp", s.address)
		return err == nil && c.Close() == nil
	})
}

func (s *signer) wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s until %s:\n%s", patience, what, read(t, s.output))
		}
	}
}

// stop ends the service as systemd does.
func (s *signer) stop(t *testing.T) {
	t.Helper()
	cmd := s.cmd
	s.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the signing service: %v", err)
	}
}

func (s *signer) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// rotate makes another identity, in the lab's directory rotated-requester. The service knows it
// after reload.
func (s *signer) rotate(t *testing.T) {
	t.Helper()
	harness.Must(t, "cp", "-r", s.path("requester"), s.path("rotated-requester"))
	harness.Must(t, "sh", "-ec", `cd "$1"
openssl genpkey -algorithm ed25519 -out key
openssl req -new -key key -subj /CN=rotated -out request
printf 'extendedKeyUsage = clientAuth\n' >extensions
openssl x509 -req -in request -CA "$2/ca.crt" -CAkey "$2/ca.key" -days 1 -extfile extensions -out certificate 2>/dev/null
cat key certificate >identity.pem
rm key request extensions certificate`, "-", s.path("rotated-requester"), s.file("tls"))
	s.mayUse(t, "rotated-requester")
}

// reload replaces the requester's key in the configuration by that of rotate.
func (s *signer) reload(t *testing.T) {
	t.Helper()
	key := privateKey(t, s.path("rotated-requester/identity.pem")).Public().(ed25519.PublicKey)
	config := regexp.MustCompile(`name: build, key: [^,}]*`).ReplaceAllLiteralString(read(t, s.file("serve.yaml")), "name: build, key: "+base64.StdEncoding.EncodeToString(key))
	write(t, s.file("serve.yaml"), config)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "it has reloaded", func() bool { return strings.Contains(read(t, s.output), " reloaded: ") })
}

func privateKey(t *testing.T, file string) ed25519.PrivateKey {
	t.Helper()
	for rest := []byte(read(t, file)); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatalf("%s: no private key", file)
		} else if block.Type == "PRIVATE KEY" {
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key.(ed25519.PrivateKey)
		}
	}
}

// secretsOf returns the private key in an identity, in the forms in which it could be found
// elsewhere.
func secretsOf(t *testing.T, file string) []string {
	t.Helper()
	seed := privateKey(t, file).Seed()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(der)
	if !strings.Contains(read(t, file), text) {
		t.Fatalf("%s: its private key is not on one line", file)
	}
	return []string{text, base64.StdEncoding.EncodeToString(seed), hex.EncodeToString(seed), string(seed)}
}

// logged is a record in the service's log.
type logged struct {
	Status, Reason, Requester string
	Signatures                int64
	Claimed                   []struct {
		Container, Path string
		Name            string `json:"container_name"`
	}
}

// records returns the log. It is read while the service runs.
func (s *signer) records(t *testing.T) []logged {
	t.Helper()
	var r struct{ Logged []logged }
	s.audit(t, &r, "show", "--verbose")
	return r.Logged
}

// audit runs a command on the log, and decodes its result.
func (s *signer) audit(t *testing.T, result any, args ...string) {
	t.Helper()
	args = append([]string{"audit"}, args...)
	args = append(args, "--json", "--log", s.file("log"), "--log-key", s.path("requester/log.pub"))
	if err := json.Unmarshal([]byte(harness.Must(t, s.program(), args...)), result); err != nil {
		t.Fatal(err)
	}
}

// proved checks that the log has every signature in a manifest, and returns how many there are.
func (s *signer) proved(t *testing.T, manifest string) int {
	t.Helper()
	var r struct{ Proved, Unproved int }
	s.audit(t, &r, "prove", "--cert", s.path("requester/x509_ima.crt"), manifest)
	if r.Unproved != 0 {
		t.Errorf("%s: %d signatures are in no log", manifest, r.Unproved)
	}
	return r.Proved
}
