package service

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestChaos has three servers with one key and a log each. For a minute, up to two of them are
// killed or stopped at a time, while clients sign a repository, trees and an image. Every client
// ends well, no batch takes more than ten seconds, and every signature is in a log.
func TestChaos(t *testing.T) {
	nightly(t)
	servers := three(t)
	f := &farm{service: servers[0], key: keyOf(t, servers), end: time.Now().Add(time.Minute), out: t.TempDir()}
	load := servers[0].loadBy(4, f.key)
	var chaos, clients sync.WaitGroup
	healthy := make(chan *service, len(servers))
	for _, s := range servers {
		healthy <- s
	}
	for range len(servers) - 1 {
		chaos.Go(func() {
			for time.Now().Before(f.end) {
				s := <-healthy
				s.hurt()
				healthy <- s
			}
		})
	}
	for i, client := range []func(n int){f.repository, f.tree, f.tree, f.image} {
		clients.Go(func() {
			for n := i; time.Now().Before(f.end) && !t.Failed(); n += 4 {
				client(n)
			}
		})
	}
	clients.Wait()
	chaos.Wait()
	receipts := load.end()
	most := quantile(load.took, 1)
	t.Logf("%d batches by the client here, the longest %v; %d runs of clients", len(receipts), most, f.runs)
	if most > 10*time.Second {
		t.Errorf("a batch took %v", most)
	}
	manifests, err := filepath.Glob(filepath.Join(f.out, "*.manifest"))
	check(t, err)
	by := map[string][]keystore.Receipt{}
	for _, r := range receipts {
		by[r.Server] = append(by[r.Server], r)
	}
	for _, s := range servers {
		harness.Must(t, s.program, append([]string{"audit", "verify"}, logs(s)...)...)
		s.proved(by[s.address])
		t.Logf("%s: %d batches", s.address, len(by[s.address]))
		s.slim()
	}
	harness.Must(t, f.program, append(append([]string{"audit", "prove", "--cert", f.certificate()}, logs(servers...)...), manifests...)...)
}

// three starts three servers with the same signing key, for the requester of the first one.
func three(t testing.TB) (servers []*service) {
	t.Helper()
	keys := harness.Keys(t, "rsa2048")
	for i := range 3 {
		s := newService(t, keys)
		if servers = append(servers, s); i > 0 {
			first := servers[0]
			write(t, s.path("tls", "ca.crt"), read(t, first.path("tls", "ca.crt")))
			s.configure(s.own().public(), first.own().public())
			write(t, s.path("requester", "identity.pem"), read(t, first.own().file))
		}
		s.start()
	}
	return servers
}

// keyOf returns the --key of the requester of the first server, on all of them.
func keyOf(t testing.TB, servers []*service) string {
	t.Helper()
	dir := t.TempDir()
	var authorities, keys string
	var addresses []string
	for _, s := range servers {
		authorities += read(t, s.path("requester", "ca.crt"))
		keys += read(t, s.path("requester", "log.pub"))
		addresses = append(addresses, s.address)
	}
	write(t, filepath.Join(dir, "ca.crt"), authorities)
	write(t, filepath.Join(dir, "logs.pub"), keys)
	return fmt.Sprintf("https://%s/image?identity=%s&ca=%s&log=%s", strings.Join(addresses, ","),
		servers[0].path("requester", "identity.pem"), filepath.Join(dir, "ca.crt"), filepath.Join(dir, "logs.pub"))
}

// hurt kills or stops a server for up to some seconds.
func (s *service) hurt() {
	pause := time.Duration(rand.N(4000)) * time.Millisecond
	if rand.N(2) == 0 {
		s.signal(syscall.SIGSTOP)
		time.Sleep(pause)
		s.signal(syscall.SIGCONT)
	} else {
		s.kill()
		time.Sleep(pause / 4)
		s.launch()
	}
	for limit := time.Now().Add(patience); s.status("/readyz") != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			s.Errorf("%s is not ready", s.address)
			return
		}
	}
	time.Sleep(time.Duration(rand.N(500)) * time.Millisecond)
}

// farm is some clients. Each makes something new, has it signed, and checks it.
type farm struct {
	*service
	key string
	end time.Time
	out string

	mu   sync.Mutex
	runs int
}

// run runs a client, which keeps a manifest for later.
func (f *farm) run(n int, command string, args ...string) {
	f.Helper()
	r := f.client(f.key, command, append(evidence(f.out, fmt.Sprint(n)), args...)...)
	if r.Code != 0 {
		f.Errorf("%s: exit %d\n%s", command, r.Code, r.Err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs++
}

// content makes a directory with files that no other run has.
func (f *farm) content(n int) string {
	dir := filepath.Join(f.out, fmt.Sprint("tree-", n))
	for i := range 600 {
		path := filepath.Join(dir, fmt.Sprint(i%20), fmt.Sprint(i))
		if os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, random(100), 0o644) != nil {
			f.Errorf("%s cannot be written", path)
		}
	}
	return dir
}

func (f *farm) tree(n int) {
	dir := f.content(n)
	f.run(n, "rootfs sign", dir)
	f.accepted(dir)
}

func (f *farm) image(n int) {
	dir := f.content(n)
	before, after := dir+".before", dir+".after"
	harness.Must(f, "mke2fs", "-q", "-t", "ext4", "-N", "4000", "-d", dir, before, "24M")
	f.run(n, "image sign", before, "-o", after)
	f.accepted(imagetree.Mount(f, after))
}

func (f *farm) repository(n int) {
	before := filepath.Join(f.out, fmt.Sprint("repo-", n))
	after := before + "-signed"
	check(f, os.Mkdir(before, 0o755))
	for _, name := range []string{"rich", "zstd", "noarch", "sha256"} {
		packages.Copy(f, name, before)
	}
	packages.CreateRepo(f, before)
	f.run(n, "repo sign", before, "-o", after)
	signed, err := filepath.Glob(filepath.Join(after, "*.rpm"))
	check(f, err)
	for _, path := range signed {
		if strings.Contains(path, "zstd") {
			packages.InstallIMA(f, f.TempDir(), path, f.certificate())
		}
	}
}
