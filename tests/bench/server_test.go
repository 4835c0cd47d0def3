package bench

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
	"github.com/imasign/imasign-build/tests/harness"
)

// service is a signing service on loopback: a process of its own.
type service struct {
	file, uri   string // --key, for the key in a file and for the same key in the service
	certificate *x509.Certificate
	pid         int
}

// newService starts a service, as `serve init` makes it, and ends it with the benchmark.
func newService(b *testing.B, algorithm string) *service {
	b.Helper()
	program, keys, dir := harness.Program(b), harness.Keys(b, algorithm), filepath.Join(b.TempDir(), "service")
	listen, monitor := freePort(b), freePort(b)
	s := &service{file: filepath.Join(keys, "x509_ima.key")}
	harness.Must(b, program, "serve", "init", "--listen", listen, "--metrics", monitor, "--key", "image="+s.file, "--cert", filepath.Join(keys, "x509_ima.crt"), dir)
	s.uri = fmt.Sprintf("https://%s/image?identity=%s&ca=%s", listen, filepath.Join(dir, "requester", "identity.pem"), filepath.Join(dir, "requester", "ca.crt"))
	s.certificate = certificate(b, filepath.Join(keys, "x509_ima.crt"))
	cmd := exec.Command(program, "serve", filepath.Join(dir, "serve.yaml"))
	cmd.Stderr = os.Stderr
	check(b, cmd.Start())
	s.pid = cmd.Process.Pid
	b.Cleanup(func() {
		check(b, cmd.Process.Signal(unix.SIGTERM))
		check(b, cmd.Wait())
	})
	for range 600 {
		response, err := http.Get("http://" + monitor + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return s
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatal("the service is not ready")
	return nil
}

// open opens one of the keys.
func (s *service) open(b *testing.B, uri string) *keystore.Key {
	b.Helper()
	backends := keystore.Backends{file.New(), remote.New(nil)}
	key, err := backends.Open(b.Context(), uri, keystore.Options{Certificate: s.certificate, Warn: func(text string) { b.Log(text) }})
	check(b, err)
	b.Cleanup(func() { check(b, key.Close()) })
	return key
}

// cpu returns the processor time of the server until now, in seconds.
func (s *service) cpu(b *testing.B) float64 {
	b.Helper()
	return cpuOf(b, s.pid)
}

// peak returns the peak resident memory of the server in bytes.
func (s *service) peak(b *testing.B) int64 {
	b.Helper()
	kib, err := strconv.ParseInt(field(b, fmt.Sprintf("/proc/%d/status", s.pid), `VmHWM:\s+(\d+) kB`), 10, 64)
	check(b, err)
	return kib << 10
}

// cpuOf returns the processor time of a process until now, in seconds. 0 is this process.
func cpuOf(b *testing.B, pid int) float64 {
	b.Helper()
	var now unix.Timespec
	check(b, unix.ClockGettime(int32(^pid<<3|2), &now)) // clock_getcpuclockid(3)
	return float64(now.Nano()) / 1e9
}

// freePort returns a loopback address that nobody listens at.
func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	defer l.Close()
	return l.Addr().String()
}

// newDigests returns random digests, each with a claim, as of the files of an image.
func newDigests(count int) (digests [][]byte, claims []ima.Claim) {
	all := make([]byte, 32*count)
	_, _ = rand.Read(all) // it never fails
	origin := &ima.Origin{Container: "image", Name: "core-image-minimal.ext4"}
	for i := range count {
		digests = append(digests, all[32*i:32*i+32])
		claims = append(claims, ima.Claim{Origin: origin, Path: fmt.Sprintf("/usr/lib/x86_64-linux-gnu/module-%d/library-%d.so", i/100, i)})
	}
	return digests, claims
}

// certificate reads a certificate from a PEM file.
func certificate(b *testing.B, file string) *x509.Certificate {
	b.Helper()
	text, err := os.ReadFile(file)
	check(b, err)
	block, _ := pem.Decode(text)
	if block == nil {
		b.Fatalf("%s has no certificate", file)
	}
	read, err := x509.ParseCertificate(block.Bytes)
	check(b, err)
	return read
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
