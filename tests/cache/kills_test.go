package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestKilledProcesses signs trees with eight processes at a time, all with one cache, and
// kills 25 of them somewhere. The cache stays sound, and whoever finishes has signed
// everything. The trees share files: for these, all processes that finish attach the same
// signatures, though the token makes others each time.
func TestKilledProcesses(t *testing.T) {
	l := newLab(t)
	var kills, trees atomic.Int64
	if kills.Store(25); harness.Nightly() {
		kills.Store(250)
	}
	all := l.path("all")
	var finished sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := 0; done < 2; {
				n := fmt.Sprint(trees.Add(1))
				dir := mixed(t, filepath.Join(all, n), n)
				p := l.copyOfToken(l.path("token " + n)).start(append([]string{"rootfs", "sign", dir}, l.key()...)...)
				if kills.Add(-1) >= 0 && p.kill() {
					continue
				}
				p.done()
				finished.Store(dir, true)
				done++
			}
		})
	}
	wg.Wait()
	l.sound()
	first := ""
	finished.Range(func(dir, _ any) bool {
		shared := values(t, dir.(string))
		if first == "" {
			first = shared
			l.verified(dir.(string), shareds+owns)
		}
		if shared != first {
			t.Errorf("%s: other signatures of the files that all trees have", dir)
		}
		return true
	})
	l.must(append([]string{"rootfs", "sign", all}, l.key()...)...) // also what was killed
	l.must("rootfs", "verify", "--cert", l.certs, all)
	l.sound()
}

// copyOfToken returns the same lab with a copy of the token. SoftHSM2 writes to a token when a
// user logs in: other processes then sometimes do not find it, and whoever is killed leaves a
// token that nobody can open.
func (l *lab) copyOfToken(dir string) *lab {
	harness.Must(l, "cp", "-a", filepath.Dir(l.tokens), dir)
	conf := "directories.tokendir = " + filepath.Join(dir, filepath.Base(l.tokens)) + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	check(l, os.WriteFile(filepath.Join(dir, "softhsm2.conf"), []byte(conf), 0o600))
	other := *l
	other.env = []string{"SOFTHSM2_CONF=" + filepath.Join(dir, "softhsm2.conf")}
	return &other
}

// shareds and owns are how many files all trees have, and how many only one has.
const shareds, owns = 60, 200

// mixed makes a tree of files that all trees have, and others that only it has.
func mixed(t testing.TB, dir, name string) string {
	t.Helper()
	files(t, dir, "file", shareds)
	files(t, dir, name, owns)
	return dir
}

// kill kills the program after a while. It returns false if the program ended before.
func (p *process) kill() bool {
	select {
	case <-p.ended:
		return p.ProcessState.ExitCode() < 0
	case <-time.After(time.Duration(rand.Int64N(int64(200 * time.Millisecond)))):
	}
	_ = p.Process.Kill() // it may have ended
	<-p.ended
	return p.ProcessState.ExitCode() < 0
}

// values returns the values of the files that all trees have.
func values(t testing.TB, dir string) (all string) {
	t.Helper()
	for i := range shareds {
		v, err := xattr.Get(filepath.Join(dir, fmt.Sprintf("file-%03d", i)), "security.ima")
		check(t, err)
		all += fmt.Sprintf("%x\n", v)
	}
	return all
}
