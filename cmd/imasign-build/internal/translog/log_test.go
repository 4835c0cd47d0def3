package translog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
)

// testKey makes a key for a log.
func testKey(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, "example.org/log")
	must(t, err)
	signer, err := note.NewSigner(secret)
	must(t, err)
	again, err := VerifierKey(secret)
	must(t, err)
	if again != public {
		t.Fatalf("the verifier key is %s, not %s", again, public)
	}
	verifier, err := note.NewVerifier(public)
	must(t, err)
	return signer, verifier
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// leafOf is a leaf of a test's record.
func leafOf(record, leaf int) tlog.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "leaf %d of record %d", leaf, record))
}

// recordOf returns a record with n leaves, or of a refusal, and its details.
func recordOf(t testing.TB, number, n int) (record, details []byte) {
	t.Helper()
	var leaves []tlog.Hash
	d := protocol.Details{Version: protocol.Version}
	if n > 0 {
		d.Origins = []protocol.Origin{{Container: "tree", Name: []byte("root")}}
	}
	for i := range n {
		leaf := leafOf(number, i)
		leaves = append(leaves, leaf)
		d.Leaves = append(d.Leaves, leaf[:]...)
		d.Digests = append(d.Digests, leaf[:]...)
		d.Claims = append(d.Claims, protocol.Claim{Path: fmt.Appendf(nil, "/usr/bin/file-%d", i)})
	}
	details, err := d.Encode()
	must(t, err)
	root, sum := protocol.Root(leaves), sha256.Sum256(details)
	id := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(number))
	r := protocol.Record{
		Version: protocol.Version, Time: 1_800_000_000 + int64(number), Requester: "ci", RequesterKey: make([]byte, 32),
		ID: id, Key: "image", SPKI: make([]byte, 32), Type: 3, Signature: 2, Hash: 4,
		Digests: uint64(n), Rule: "images", Root: root[:], Details: sum[:],
	}
	if n == 0 {
		r.Digests, r.Rule, r.Root, r.Refusal = 1, "", nil, protocol.Quota
	}
	record, err = r.Encode()
	must(t, err)
	return record, details
}

// grow appends records with the numbers from and to-1, in groups of some dozens.
func grow(t testing.TB, l *Log, from, to int) []string {
	t.Helper()
	var proofs []string
	for from < to {
		var group []*waiter
		for ; from < to && len(group) < 40; from++ {
			record, details := recordOf(t, from, from%5)
			w := &waiter{frame: frame{kind: kindRecord, body: record, details: details}, done: make(chan struct{})}
			must(t, l.enqueue(w))
			group = append(group, w)
		}
		for _, w := range group {
			<-w.done
			must(t, w.err)
			proof, err := l.prove(w.frame.index, w.state)
			must(t, err)
			proofs = append(proofs, proof)
		}
	}
	return proofs
}

func checkProof(t testing.TB, text string, number int, key note.Verifier) {
	t.Helper()
	p, err := protocol.ParseProof(text)
	must(t, err)
	record, _ := recordOf(t, number, number%5)
	_, err = p.Check(record, key)
	must(t, err)
}

// memoryDir returns a directory in memory, if possible: syncing thousands of times takes long.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "translog")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// filled makes a log with n records, and closes it.
func filled(t testing.TB, n int) (dir string, key note.Signer) {
	t.Helper()
	dir = filepath.Join(memoryDir(t), "log")
	key, _ = testKey(t)
	must(t, Create(dir, key))
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	grow(t, l, 0, n)
	must(t, l.Close())
	return dir, key
}

func TestLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	key, verifier := testKey(t)
	must(t, Create(dir, key))
	if err := Create(dir, key); err == nil {
		t.Error("a log was created over another")
	}
	const step, rounds = 150, 3
	var synced int
	for round := range rounds {
		l, err := Open(t.Context(), dir, key, Options{Synced: func(n int, _ time.Duration) { synced += n }})
		must(t, err)
		if l.Size() != int64(round*step) {
			t.Fatalf("%d records, not %d", l.Size(), round*step)
		}
		if _, err := Open(t.Context(), dir, key, Options{}); !errors.Is(err, ErrLocked) {
			t.Errorf("opened twice: %v", err)
		}
		for i, proof := range grow(t, l, round*step, (round+1)*step) {
			checkProof(t, proof, round*step+i, verifier)
		}
		must(t, l.Close())
		record, details := recordOf(t, 1, 1)
		if _, err := l.Append(t.Context(), record, details); !errors.Is(err, ErrClosed) {
			t.Errorf("appended after the end: %v", err)
		}
		if _, err := l.Reserve(1); !errors.Is(err, ErrClosed) {
			t.Errorf("reserved after the end: %v", err)
		}
	}
	if synced != step*rounds {
		t.Errorf("%d records were reported", synced)
	}
}

// TestAppendRefuses appends what audits would refuse.
func TestAppendRefuses(t *testing.T) {
	dir, key := filled(t, 0)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	record, details := recordOf(t, 1, 1)
	_, other := recordOf(t, 2, 2)
	for name, c := range map[string][2][]byte{
		"no record": {nil, details}, "other details": {record, other}, "no details": {record, nil}, "half a record": {record[:40], details},
		"too much": {record, make([]byte, protocol.MaxDetails+1)},
	} {
		if _, err := l.Append(t.Context(), c[0], c[1]); err == nil || l.Size() != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppendTogether(t *testing.T) {
	dir, key := filled(t, 0)
	groups := 0
	l, err := Open(t.Context(), dir, key, Options{Synced: func(int, time.Duration) { groups++ }})
	must(t, err)
	const writers, each = 16, 20
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				record, details := recordOf(t, w*each+i, 3)
				release, err := l.Reserve(int64(len(record) + len(details)))
				if err != nil {
					t.Error(err)
					return
				}
				defer release()
				proof, err := l.Append(t.Context(), record, details)
				if err != nil {
					t.Error(err)
					return
				}
				p, err := protocol.ParseProof(proof)
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := l.record(p.Index); err != nil || !bytes.Equal(body, record) {
					t.Errorf("record %d is another: %v", p.Index, err)
				}
			}
		})
	}
	wait.Wait()
	must(t, l.Close())
	if l.Size() != writers*each || groups >= writers*each {
		t.Errorf("%d records in %d groups", l.Size(), groups)
	}
}

func TestRecords(t *testing.T) {
	dir, key := filled(t, 1000)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	const from = 1_800_000_900
	next := int64(from)
	for r, err := range l.Records(t.Context(), time.Unix(from, 0)) {
		must(t, err)
		if r.Time != next {
			t.Fatalf("time %d, not %d", r.Time, next)
		}
		next++
	}
	if next != 1_800_001_000 {
		t.Errorf("the last record is %d", next-1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range l.Records(ctx, time.Unix(from, 0)) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestFind(t *testing.T) {
	dir, key := filled(t, 200)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	grow(t, l, 0, 10) // the same leaves again: the first record counts
	var ask []tlog.Hash
	var want []int64
	for i := range 200 {
		for leaf := range i % 5 {
			ask, want = append(ask, leafOf(i, leaf)), append(want, int64(i))
		}
		ask, want = append(ask, leafOf(i, 99), leafOf(7, 0)), append(want, -1, 7)
	}
	got, err := l.Find(t.Context(), ask)
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nnot\n%v", got, want)
	}
}

// TestFrontier compares with golang.org/x/mod/sumdb/tlog.
func TestFrontier(t *testing.T) {
	var f Tree
	var stored, want []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, k := range at {
			hashes = append(hashes, want[k])
		}
		return hashes, nil
	})
	for n := range int64(300) {
		root, err := tlog.TreeHash(n, reader)
		must(t, err)
		if f.Root() != root {
			t.Fatalf("another root of %d records", n)
		}
		more, err := tlog.StoredHashes(n, []byte{byte(n)}, reader)
		must(t, err)
		want = append(want, more...)
		stored = f.Add(tlog.RecordHash([]byte{byte(n)}), stored)
		if len(stored) != len(want) || stored[len(stored)-1] != want[len(want)-1] {
			t.Fatalf("other hashes of %d records", n)
		}
	}
}

// read returns the files of a log by name.
func read(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		files[e.Name()] = content
	}
	return files
}
