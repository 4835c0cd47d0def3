package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/protocol"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture is a log that is open.
type fixture struct {
	*translog.Log

	dir  string
	key  note.Signer
	keys []note.Verifier
}

// newFixture makes a log with n records. Logs of one name and different history are forks.
func newFixture(t testing.TB, secret string, history, n int) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "audit")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	public, err := translog.VerifierKey(secret)
	must(t, err)
	f := &fixture{dir: filepath.Join(dir, "log")}
	f.key, err = note.NewSigner(secret)
	must(t, err)
	v, err := note.NewVerifier(public)
	must(t, err)
	f.keys = []note.Verifier{v}
	must(t, translog.Create(f.dir, f.key))
	f.Log, err = translog.Open(t.Context(), f.dir, f.key, translog.Options{})
	must(t, err)
	t.Cleanup(func() { f.Close() })
	f.grow(t, history, n)
	return f
}

func newSecret(t testing.TB) string {
	t.Helper()
	secret, _, err := note.GenerateKey(nil, "example.org/log")
	must(t, err)
	return secret
}

func (f *fixture) grow(t testing.TB, history, n int) {
	t.Helper()
	for i := range n {
		record, details := recordOf(t, history, int(f.Size()), i%4)
		_, err := f.Append(t.Context(), record, details)
		must(t, err)
	}
}

func leafOf(history, record, leaf int) tlog.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "leaf %d of record %d of history %d", leaf, record, history))
}

// recordOf returns a record with n leaves, or of a refusal, and its details.
func recordOf(t testing.TB, history, number, n int) (record, details []byte) {
	t.Helper()
	var leaves []tlog.Hash
	d := protocol.Details{Version: protocol.Version, Digests: make([]byte, 32)}
	if n > 0 {
		d.Origins, d.Digests = []protocol.Origin{{Container: "tree", Name: []byte("root")}}, nil
	}
	for i := range n {
		leaf := leafOf(history, number, i)
		leaves = append(leaves, leaf)
		d.Leaves = append(d.Leaves, leaf[:]...)
		d.Digests = append(d.Digests, leaf[:]...)
		d.Claims = append(d.Claims, protocol.Claim{Path: fmt.Appendf(nil, "/usr/bin/file-%d", i)})
	}
	details, err := d.Encode()
	must(t, err)
	root, sum := protocol.Root(leaves), sha256.Sum256(details)
	r := protocol.Record{
		Version: protocol.Version, Time: 1_800_000_000 + int64(number), Requester: "ci", RequesterKey: make([]byte, 32),
		ID: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(number)), Key: "image", SPKI: make([]byte, 32), Type: 3, Signature: 2, Hash: 4,
		Digests: uint64(n), Rule: "images", Root: root[:], Details: sum[:],
	}
	if n == 0 {
		r.Digests, r.Rule, r.Root, r.Refusal = 1, "", nil, protocol.Quota
	}
	record, err = r.Encode()
	must(t, err)
	return record, details
}

// serve serves a log as a server does. change, unless nil, may answer instead.
func (f *fixture) serve(t testing.TB, change func(w http.ResponseWriter, r *http.Request) bool) *audit.Remote {
	t.Helper()
	inner := http.StripPrefix(strings.TrimSuffix(protocol.LogPath, "/"), f.Handler())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change == nil || !change(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return audit.NewRemote(server.Client(), strings.TrimPrefix(server.URL, "https://"))
}

func verify(ctx context.Context, log audit.Log, keys []note.Verifier, since *protocol.Checkpoint) (records int, err error) {
	_, c, err := audit.Current(ctx, log, keys)
	if err != nil {
		return 0, err
	}
	err = audit.Verify(ctx, log, c, audit.Options{Since: since, Visit: func(e *translog.Entry, r *audit.Record) error {
		if int64(records) != e.Index || r.Index != e.Index {
			return fmt.Errorf("record %d comes as number %d", e.Index, records)
		}
		records++
		return nil
	}})
	return records, err
}

func TestVerify(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 257, 700} {
		f := newFixture(t, newSecret(t), 0, n)
		for _, log := range []audit.Log{audit.Dir(f.dir), f.serve(t, nil)} {
			if got, err := verify(t.Context(), log, f.keys, nil); err != nil || got != n {
				t.Errorf("%s: %d of %d records: %v", log, got, n, err)
			}
		}
	}
}

func TestSince(t *testing.T) {
	secret := newSecret(t)
	f, fork, short := newFixture(t, secret, 0, 20), newFixture(t, secret, 1, 30), newFixture(t, secret, 0, 8)
	old, err := audit.OpenCheckpoint(f.Checkpoint(), f.keys)
	must(t, err)
	f.grow(t, 0, 10)
	for name, c := range map[string]struct {
		f    *fixture
		want string
	}{"grown": {f, ""}, "fork": {fork, "fork"}, "cut": {short, "record 8: it is missing: the log was cut"}} {
		for _, log := range []audit.Log{audit.Dir(c.f.dir), c.f.serve(t, nil)} {
			_, err := verify(t.Context(), log, c.f.keys, &old)
			if (c.want == "") != (err == nil) || err != nil && (!errors.Is(err, translog.ErrDamaged) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %s: %v", name, log, err)
			}
		}
	}
	other := newFixture(t, newSecret(t), 0, 3)
	if _, err := verify(t.Context(), audit.Dir(other.dir), f.keys, nil); !errors.Is(err, translog.ErrDamaged) {
		t.Errorf("another key of the same name: %v", err)
	}
}

func TestFind(t *testing.T) {
	f := newFixture(t, newSecret(t), 0, 300)
	ask := []tlog.Hash{leafOf(0, 6, 1), leafOf(0, 299, 2), leafOf(0, 6, 3), leafOf(0, 6, 1), leafOf(1, 6, 1)}
	want := []int64{6, 299, -1, 6, -1}
	for _, log := range []audit.Log{audit.Dir(f.dir), f.serve(t, nil)} {
		_, c, err := audit.Current(t.Context(), log, f.keys)
		must(t, err)
		found, err := log.Find(t.Context(), c, ask)
		must(t, err)
		for i, r := range found {
			if (r == nil) != (want[i] < 0) || r != nil && r.Index != want[i] {
				t.Errorf("%s: leaf %d: %+v", log, i, r)
			}
		}
	}
}

// TestDirFlips changes every byte of a log that nobody has open.
func TestDirFlips(t *testing.T) {
	f := newFixture(t, newSecret(t), 0, 3)
	must(t, f.Close())
	for _, name := range []string{"journal", "checkpoint", "hashes"} {
		path := filepath.Join(f.dir, name)
		content, err := os.ReadFile(path)
		must(t, err)
		healed := 0
		for i := range content {
			damaged := bytes.Clone(content)
			damaged[i] ^= 0x04
			must(t, os.WriteFile(path, damaged, 0o600))
			switch got, err := verify(t.Context(), audit.Dir(f.dir), f.keys, nil); {
			case err == nil && got == 3:
				healed++
			case !errors.Is(err, translog.ErrDamaged):
				t.Errorf("%s, byte %d: %d records, %v", name, i, got, err)
			}
		}
		// Hashes are not needed, and neither is the checkpoint after the last record.
		if last := len(f.Checkpoint()) + 24; name != "hashes" && healed > last || name == "checkpoint" && healed > 0 {
			t.Errorf("%s: %d damages were not noticed", name, healed)
		}
		must(t, os.WriteFile(path, content, 0o600))
	}
}

// TestLyingServer answers other than the log is.
func TestLyingServer(t *testing.T) {
	secret := newSecret(t)
	f, fork := newFixture(t, secret, 0, 20), newFixture(t, secret, 1, 20)
	other := http.StripPrefix(strings.TrimSuffix(protocol.LogPath, "/"), fork.Handler())
	flip := func(w http.ResponseWriter, r *http.Request, at int) {
		recorder := httptest.NewRecorder()
		http.StripPrefix(strings.TrimSuffix(protocol.LogPath, "/"), f.Handler()).ServeHTTP(recorder, r)
		body := recorder.Body.Bytes()
		body[at] ^= 1
		w.Write(body)
	}
	for name, c := range map[string]struct {
		path   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"records of a fork": {"tile/entries/000.p/20", other.ServeHTTP, "record 1"},
		"tiles of a fork":   {"tile/0/000.p/20", other.ServeHTTP, "record 0"},
		"a changed record":  {"tile/entries/000.p/20", func(w http.ResponseWriter, r *http.Request) { flip(w, r, 30) }, "record 0"},
		"a changed length":  {"tile/entries/000.p/20", func(w http.ResponseWriter, r *http.Request) { flip(w, r, 1) }, "record"},
		"other details":     {"details/7", other.ServeHTTP, "record 7: its details"},
		"no details":        {"details/7", func(http.ResponseWriter, *http.Request) {}, "record 7: its details"},
		"a checkpoint":      {"checkpoint", func(w http.ResponseWriter, r *http.Request) { flip(w, r, 20) }, "not signed by the key"},
	} {
		t.Run(name, func(t *testing.T) {
			log := f.serve(t, func(w http.ResponseWriter, r *http.Request) bool {
				if strings.TrimPrefix(r.URL.Path, protocol.LogPath) != c.path {
					return false
				}
				c.answer(w, r)
				return true
			})
			if _, err := verify(t.Context(), log, f.keys, nil); !errors.Is(err, translog.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	broken := f.serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "no \x1b[31m", http.StatusForbidden)
		return true
	})
	if _, err := verify(t.Context(), broken, f.keys, nil); err == nil || errors.Is(err, translog.ErrDamaged) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a server that refuses: %v", err)
	}
}

// TestLyingService logs what it did not sign: every part of a record is compared with the others.
func TestLyingService(t *testing.T) {
	record, details := recordOf(t, 0, 2, 2)
	r, err := protocol.DecodeRecord(record)
	must(t, err)
	d, err := protocol.DecodeDetails(details)
	must(t, err)
	for name, c := range map[string]struct {
		change func(r *protocol.Record, d *protocol.Details)
		want   string
	}{
		"nothing":       {func(*protocol.Record, *protocol.Details) {}, ""},
		"another root":  {func(r *protocol.Record, _ *protocol.Details) { r.Root = make([]byte, 32) }, "its leaves are not those of its root"},
		"fewer digests": {func(r *protocol.Record, _ *protocol.Details) { r.Digests = 1 }, "it states 1 digests"},
		"another digest": {func(_ *protocol.Record, d *protocol.Details) {
			d.Digests = append(bytes.Clone(d.Digests), make([]byte, 32)...)
		}, "96 bytes of digests"},
		"leaves of refusal":            {func(r *protocol.Record, _ *protocol.Details) { r.Refusal, r.Rule, r.Root = protocol.Quota, "", nil }, "it is of a refusal, and has 2 signatures"},
		"details that nobody can read": {func(_ *protocol.Record, d *protocol.Details) { d.Version = 2 }, "its details"},
	} {
		t.Run(name, func(t *testing.T) {
			changed, other := *r, *d
			c.change(&changed, &other)
			encoded, err := other.Encode()
			if err != nil { // no service can encode it
				encoded = bytes.Clone(details)
				encoded[2] = 2
			}
			sum := sha256.Sum256(encoded)
			changed.Details = sum[:]
			body, err := changed.Encode()
			must(t, err)
			f := newFixture(t, newSecret(t), 0, 1)
			_, err = f.Append(t.Context(), body, encoded)
			must(t, err)
			for _, log := range []audit.Log{audit.Dir(f.dir), f.serve(t, nil)} {
				_, err := verify(t.Context(), log, f.keys, nil)
				if (c.want == "") != (err == nil) || err != nil && (!errors.Is(err, translog.ErrDamaged) || !strings.Contains(err.Error(), "record 1: ") || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s: %v", log, err)
				}
			}
		})
	}
}

// TestLyingFind names records that do not have the leaf, or are not there.
func TestLyingFind(t *testing.T) {
	f := newFixture(t, newSecret(t), 0, 20)
	_, c, err := audit.Current(t.Context(), audit.Dir(f.dir), f.keys)
	must(t, err)
	for _, index := range []int64{-1, 0, 3, 19, 20, 1 << 60} {
		log := f.serve(t, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "find") {
				return false
			}
			answer, err := protocol.EncodeFound([]int64{index})
			must(t, err)
			w.Write(answer)
			return true
		})
		found, err := log.Find(t.Context(), c, []tlog.Hash{leafOf(0, 6, 1)})
		if err != nil || found[0] != nil {
			t.Errorf("%d: %+v, %v", index, found, err)
		}
	}
}
