package sigcache

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

func TestMain(m *testing.M) {
	if key := os.Getenv("SIGCACHE_TEST_KEY"); key != "" {
		work(key)
		return
	}
	harness.Main(m)
}

// work is what the processes of TestKilledProcesses do: they look for signatures, make those
// that are missing, store them, and print what the cache has then. The cache is the working
// directory.
func work(text string) {
	block, _ := pem.Decode([]byte(text))
	private, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	public, err := ima.BareKey(private.Public())
	if err != nil {
		panic(err)
	}
	key, t, ctx := &signer{private, public}, &testing.B{}, context.Background()
	s, err := Open(ctx, ".", Options{Warn: func(text string) { fmt.Println("warning", text) }})
	if err != nil {
		panic(err)
	}
	n, _ := strconv.Atoi(os.Getenv("SIGCACHE_TEST_BATCHES"))
	for range n {
		from := rand.IntN(2000) * 10
		b := key.batch(from, from+30)
		found := s.Get(ctx, b)
		signatures := key.sign(t, b)
		for i, signature := range found {
			if signature != nil {
				signatures[i] = nil
			}
		}
		for i, kept := range s.Put(ctx, b, signatures, nil) {
			if kept != nil {
				fmt.Println("kept", from+i, hex.EncodeToString(kept))
			}
		}
	}
	if err := s.Close(); err != nil {
		panic(err)
	}
	fmt.Println("done")
}

// worker starts a process that works on a cache.
func worker(t testing.TB, key *signer, dir string, batches int) (cmd *exec.Cmd, out io.Reader) {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key.private)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SIGCACHE_TEST_BATCHES="+strconv.Itoa(batches),
		"SIGCACHE_TEST_KEY="+string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	cmd.Stderr = os.Stderr
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// ledger collects what the processes say that the cache has.
type ledger struct {
	mu   sync.Mutex
	kept map[int]string
}

// read reads the output of a process, and kills it after some lines if kill is set.
func (l *ledger) read(t testing.TB, cmd *exec.Cmd, out io.Reader, kill int) (done bool) {
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == kill {
			_ = cmd.Process.Kill()
		}
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word != "kept" || !strings.Contains(rest, " ") {
			if done = word == "done"; !done && word == "warning" {
				t.Error(rest)
				_ = cmd.Process.Kill() // it stores nothing any more
			}
			continue
		}
		number, signature, _ := strings.Cut(rest, " ")
		if i, err := strconv.Atoi(number); err == nil && len(signature) >= 130 && len(signature)%2 == 0 {
			l.add(t, i, signature)
		}
	}
	_ = cmd.Wait() // killed, or the test sees that it is not done
	return done
}

func (l *ledger) add(t testing.TB, i int, signature string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, has := l.kept[i]; has && before != signature {
		t.Errorf("digest %d has two signatures", i)
	}
	l.kept[i] = signature
}

// TestKilledProcesses runs eight processes on one cache and kills 25 of them.
func TestKilledProcesses(t *testing.T) {
	key, dir := newSigner(t), t.TempDir()
	l := &ledger{kept: map[int]string{}}
	left := make(chan int, 25)
	for i := range 25 {
		left <- 1 + i*29%400
	}
	close(left)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for lines := range left {
				cmd, out := worker(t, key, dir, 1_000_000)
				l.read(t, cmd, out, lines)
				if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
					t.Errorf("a process ended by itself: %v", cmd.ProcessState)
				}
			}
			if cmd, out := worker(t, key, dir, 30); !l.read(t, cmd, out, -1) {
				t.Errorf("a process failed: %v", cmd.ProcessState)
			}
		})
	}
	all.Wait()
	soundAndComplete(t, key, dir, l)
}

// TestProcessesHealTogether starts eight processes on a damaged cache. One puts it aside, and all
// use the new one.
func TestProcessesHealTogether(t *testing.T) {
	key := newSigner(t)
	dir, _ := filled(t, key, 2000)
	for i := int64(1); i < 80; i++ { // the schema is sound: they notice while they work
		if err := overwrite(filepath.Join(dir, File), 4096*i, make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	warnings := make(chan string, 100)
	for range 8 {
		cmd, out := worker(t, key, dir, 30)
		all.Go(func() {
			done := false
			for lines := bufio.NewScanner(out); lines.Scan(); {
				done = done || lines.Text() == "done"
				if text, is := strings.CutPrefix(lines.Text(), "warning "); is {
					warnings <- text
				}
			}
			if err := cmd.Wait(); err != nil || !done {
				t.Errorf("a process failed: %v", err)
			}
		})
	}
	all.Wait()
	if len(warnings) != 1 {
		t.Errorf("%d warnings", len(warnings))
	}
	close(warnings)
	for text := range warnings {
		if !strings.Contains(text, "damaged") {
			t.Error(text)
		}
	}
	s, w := open(t, dir, Options{Keep: true})
	works(t, s, key)
	w.Check(t)
}

func soundAndComplete(t *testing.T, key *signer, dir string, l *ledger) {
	t.Helper()
	ctx := context.Background()
	s, w := open(t, dir, Options{Keep: true})
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	entries := int64(0)
	for e, err := range s.Entries(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Verify(); err != nil {
			t.Error(err)
		}
		entries++
	}
	numbers, all := slices.Collect(maps.Keys(l.kept)), key.batch(0, 0)
	for _, i := range numbers {
		all.Digests = append(all.Digests, key.batch(i, i+1).Digests...)
	}
	for n, got := range s.Get(ctx, all) {
		if i := numbers[n]; hex.EncodeToString(got) != l.kept[i] {
			t.Errorf("digest %d: the cache lost what it kept", i)
		}
	}
	if len(l.kept) < 100 {
		t.Errorf("only %d signatures", len(l.kept))
	}
	w.Check(t)
	t.Logf("%d signatures, %d were read from processes", entries, len(l.kept))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	program, path := harness.Tool(t, "sqlite3"), filepath.Join(dir, File)
	if out := harness.Must(t, program, path, "PRAGMA integrity_check; SELECT count(*) FROM signature; SELECT count(*) FROM key"); out != fmt.Sprintf("ok\n%d\n1\n", entries) {
		t.Errorf("sqlite3 says %q, want %d", out, entries)
	}
}

// hold starts sqlite3 with a statement that locks a database, and ends it when the test ends.
func hold(t testing.TB, program, path, lock string) {
	t.Helper()
	cmd := exec.Command(program, path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if _, err := io.WriteString(in, lock+" SELECT 'locked';\n"); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "locked" {
			return
		}
	}
	t.Fatal("sqlite3 does not lock the database")
}

// asNobody runs a test as a user without privileges.
func asNobody(t *testing.T, name string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sigcache")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	harness.Executable(t, program, self)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^"+name+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if r := harness.RunCommand(t, cmd); r.Code != 0 || !strings.Contains(r.Out, "PASS: "+name) {
		t.Errorf("as another user: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}
