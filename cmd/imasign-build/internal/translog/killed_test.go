package translog

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

// killedVariable makes TestWriter append to the log in its working directory.
const killedVariable = "TRANSLOG_TEST_WRITER"

// TestWriter is the process that TestKilled kills. It appends records and writes a line for each
// that was acknowledged: its number and its proof.
func TestWriter(t *testing.T) {
	if os.Getenv(killedVariable) == "" {
		t.Skip("runs in TestKilled only")
	}
	const dir = "log"
	secret, err := os.ReadFile(dir + ".key")
	must(t, err)
	key, err := note.NewSigner(string(secret))
	must(t, err)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	var mu sync.Mutex
	next := int(l.Size()) * 1000 // numbers differ from those of other runs
	fmt.Println("open")
	const writers = 8
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				mu.Lock()
				number := next
				next++
				mu.Unlock()
				record, details := recordOf(t, number, number%5)
				release, err := l.Reserve(int64(len(record) + len(details)))
				must(t, err)
				proof, err := l.Append(t.Context(), record, details)
				must(t, err)
				release()
				fmt.Printf("%d %s\n", number, base64.StdEncoding.EncodeToString([]byte(proof)))
			}
		})
	}
	all.Wait()
}

// TestKilled kills a process that appends, again and again, at any moment. Nothing that was
// acknowledged is missing, and its proofs are right for ever.
func TestKilled(t *testing.T) {
	secret, public, err := note.GenerateKey(nil, "example.org/log")
	must(t, err)
	key, err := note.NewSigner(secret)
	must(t, err)
	verifier, err := note.NewVerifier(public)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(dir+".key", []byte(secret), 0o600))
	must(t, Create(dir, key))
	kills := 10
	if harness.Nightly() {
		kills = 60
	}
	acknowledged := map[int64]int{} // numbers of records by their index
	var seen []protocol.Checkpoint
	for range kills {
		for _, line := range killWriter(t, dir, rand.IntN(150)) {
			index, c := checkLine(t, line, verifier, acknowledged)
			acknowledged[index], seen = line.number, append(seen, c)
		}
		l, err := Open(t.Context(), dir, key, Options{})
		must(t, err)
		for index, number := range acknowledged {
			record, details := recordOf(t, number, number%5)
			got, err := l.record(index)
			must(t, err)
			stored, err := l.details(index)
			must(t, err)
			if string(got) != string(record) || string(stored) != string(details) {
				t.Fatalf("record %d is another than the one that was acknowledged", index)
			}
		}
		for _, c := range seen {
			root, err := tlog.TreeHash(c.Size, l.index)
			must(t, err)
			if root != c.Root {
				t.Fatalf("the log is no continuation of a checkpoint of %d records", c.Size)
			}
		}
		must(t, l.Close())
	}
	t.Logf("%d kills, %d records acknowledged", kills, len(acknowledged))
	if len(acknowledged) < kills {
		t.Error("too few records to prove anything")
	}
}

// acknowledgement is a line of TestWriter.
type acknowledgement struct {
	number int
	proof  string
}

// killWriter starts a process that appends, kills it after some lines, and returns the lines.
func killWriter(t *testing.T, dir string, lines int) (list []acknowledgement) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriter$")
	cmd.Env = append(os.Environ(), killedVariable+"=1")
	cmd.Dir = filepath.Dir(dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	read := bufio.NewReader(out)
	for i := 0; ; i++ {
		line, err := read.ReadString('\n')
		if err != nil {
			break // killed; half of a line is no acknowledgement
		}
		if i == lines {
			must(t, cmd.Process.Kill())
		}
		number, proof, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found {
			if line != "open\n" {
				t.Fatalf("the writer says %q", line)
			}
			continue
		}
		n, err := strconv.Atoi(number)
		must(t, err)
		text, err := base64.StdEncoding.DecodeString(proof)
		must(t, err)
		list = append(list, acknowledgement{n, string(text)})
	}
	_ = cmd.Wait() // it was killed
	return list
}

// checkLine verifies the proof of an acknowledged record and returns its index.
func checkLine(t *testing.T, a acknowledgement, key note.Verifier, acknowledged map[int64]int) (int64, protocol.Checkpoint) {
	t.Helper()
	p, err := protocol.ParseProof(a.proof)
	must(t, err)
	record, _ := recordOf(t, a.number, a.number%5)
	c, err := p.Check(record, key)
	must(t, err)
	if other, taken := acknowledged[p.Index]; taken {
		t.Fatalf("record %d was acknowledged for the numbers %d and %d", p.Index, other, a.number)
	}
	return p.Index, c
}
