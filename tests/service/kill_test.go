package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestKilledServer kills the server, again and again, while clients have it sign. Afterwards
// the log has every batch that a client got, with a proof, and the clients have ended well.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	kills := 10
	if harness.Nightly() {
		kills = 60
	}
	s := started(t, harness.Keys(t, "rsa2048"))
	load := s.load(4)
	tree := files(t, 1500)
	manifest := filepath.Join(t.TempDir(), "manifest")
	program := make(chan harness.Result, 1)
	command := s.command(s.build("timeout=10m"), "rootfs sign", "--manifest", manifest, tree)
	go func() { program <- harness.RunCommand(t, command) }()
	for range kills {
		got := load.count()
		s.await("a batch is signed", func() bool { return load.count() > got })
		time.Sleep(time.Duration(rand.N(80)) * time.Millisecond)
		s.kill()
		s.start()
	}
	r := <-program
	receipts := load.end()
	if r.Code != 0 {
		t.Fatalf("the client: exit %d\n%s", r.Code, r.Err)
	}
	s.accepted(tree)
	t.Logf("%d batches", len(receipts))
	s.proved(receipts)
	s.audited(manifest)
}

// load is a client in this process that has batches signed without end.
type load struct {
	*service
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	receipts []keystore.Receipt
	took     []time.Duration // of each batch
}

// load starts n workers. Each signature is verified, as in the program.
func (s *service) load(n int) *load {
	s.Helper()
	return s.loadBy(n, s.build("timeout=10m"))
}

// loadBy is load with a --key.
func (s *service) loadBy(n int, uri string) *load {
	s.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{service: s, stop: stop}
	key, err := keystore.Backends{remote.New(nil)}.Open(ctx, uri, keystore.Options{Receipt: l.add})
	check(s, err)
	for range n {
		l.done.Go(func() {
			for ctx.Err() == nil {
				if err := l.batch(ctx, key, 16); err != nil && ctx.Err() == nil {
					s.Errorf("a client: %v", err)
					return
				}
			}
		})
	}
	s.Cleanup(func() { l.end(); _ = key.Close() })
	return l
}

func (l *load) batch(ctx context.Context, key *keystore.Key, n int) error {
	digests := make([][]byte, n)
	for i := range digests {
		digests[i] = random(sha256.Size)
	}
	begin := time.Now()
	values, err := ima.Sign(ctx, key, key.Public, ima.ContentSignature(), ima.SHA256, digests)
	if err == nil && len(values) != n {
		err = fmt.Errorf("%d values for %d digests", len(values), n)
	}
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.took = append(l.took, time.Since(begin))
	}
	return err
}

func (l *load) add(r keystore.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.receipts = append(l.receipts, r)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.receipts)
}

// end stops the workers and returns what the servers acknowledged.
func (l *load) end() []keystore.Receipt {
	l.stop()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.receipts
}

// proved fails the test unless the log has the record of each receipt, at the place that its
// proof says.
func (s *service) proved(receipts []keystore.Receipt) {
	s.Helper()
	w := s.wire(s.own())
	key, err := note.NewVerifier(w.info().Log)
	check(s, err)
	last := int64(0)
	for _, r := range receipts {
		proof, err := protocol.ParseProof(r.Proof)
		check(s, err)
		c, err := proof.Check(r.Record, key)
		check(s, err)
		last = max(last, c.Size)
		record, err := protocol.DecodeRecord(r.Record)
		check(s, err)
		details := w.get(protocol.LogPath + fmt.Sprint("details/", proof.Index))
		if sum := sha256.Sum256(details); !bytes.Equal(sum[:], record.Details) {
			s.Errorf("record %d is another one than was acknowledged", proof.Index)
		}
	}
	c, err := protocol.OpenCheckpoint(w.get(protocol.LogPath+"checkpoint"), key)
	check(s, err)
	if c.Size < last {
		s.Errorf("the log has %d records, and had %d", c.Size, last)
	}
}

// get returns what a server has at a path.
func (w *wire) get(path string) []byte {
	w.Helper()
	response, err := w.client.Get("https://" + w.address + path)
	check(w, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		w.Fatalf("%s: %v", path, err)
	}
	return data
}

// info returns the description of the key.
func (w *wire) info() *protocol.KeyInfo {
	w.Helper()
	info, err := protocol.DecodeKeyInfo(w.get(protocol.KeyPath + "image"))
	check(w, err)
	return info
}
