package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// receipts appends n records to a log, and returns their receipts.
func (f *fixture) receipts(t testing.TB, history, n int) (list []keystore.Receipt) {
	t.Helper()
	for i := range n {
		number, count := int(f.Size()), i%3+1
		record, details := recordOf(t, history, number, count)
		proof, err := f.Append(t.Context(), record, details)
		must(t, err)
		r := keystore.Receipt{Server: "localhost:7443", Record: record, Proof: proof}
		for leaf := range count {
			hash := leafOf(history, number, leaf)
			r.Leaves = append(r.Leaves, hash[:]...)
		}
		list = append(list, r)
	}
	return list
}

// write writes receipts to a file.
func write(t testing.TB, list ...keystore.Receipt) audit.Receipts {
	t.Helper()
	var out bytes.Buffer
	for _, r := range list {
		_, err := report.Receipt(r).Write(&out)
		must(t, err)
	}
	path := filepath.Join(t.TempDir(), "receipts")
	must(t, os.WriteFile(path, out.Bytes(), 0o600))
	return audit.Receipts(path)
}

// TestReceipts reads the receipts of two logs, and finds their leaves.
func TestReceipts(t *testing.T) {
	f, g := newFixture(t, newSecret(t), 0, 5), newFixture(t, newSecret(t), 1, 300)
	file, keys := write(t, slices.Concat(f.receipts(t, 0, 7), g.receipts(t, 1, 2))...), slices.Concat(f.keys, g.keys)
	n := 0
	for r, err := range file.Read(t.Context(), keys) {
		must(t, err)
		if n++; r.Origin != "example.org/log" || r.Requester != "ci" {
			t.Errorf("%+v", r)
		}
	}
	if n != 9 {
		t.Errorf("%d receipts", n)
	}
	wanted := []tlog.Hash{leafOf(0, 5, 0), leafOf(1, 301, 1), leafOf(0, 6, 1), leafOf(0, 6, 2), leafOf(0, 1, 0)}
	found, err := file.Find(t.Context(), keys, wanted)
	must(t, err)
	for i, index := range []int64{5, 301, 6, -1, -1} {
		if (found[i] == nil) != (index < 0) || found[i] != nil && found[i].Index != index {
			t.Errorf("leaf %d: %+v", i, found[i])
		}
	}
}

// TestForgedReceipts refuses receipts that prove nothing, by line, and reads the others.
func TestForgedReceipts(t *testing.T) {
	stranger := newFixture(t, newSecret(t), 0, 5)
	other := stranger.receipts(t, 0, 1)[0]
	refusal, details := recordOf(t, 0, 5, 0)
	for name, c := range map[string]struct {
		change func(r *keystore.Receipt)
		want   string
	}{
		"record":         {func(r *keystore.Receipt) { r.Record[9] ^= 1 }, "is of another record"},
		"no record":      {func(r *keystore.Receipt) { r.Record = nil }, "is of another record"},
		"no proof":       {func(r *keystore.Receipt) { r.Proof = "" }, "not a proof"},
		"no leaves":      {func(r *keystore.Receipt) { r.Leaves = nil }, "its leaves are not those of its record"},
		"part of a leaf": {func(r *keystore.Receipt) { r.Leaves = append(r.Leaves, 0) }, "its leaves are not those of its record"},
		"another leaf":   {func(r *keystore.Receipt) { r.Leaves[40] ^= 1 }, "its leaves are not those of its record"},
		"moved leaves":   {func(r *keystore.Receipt) { r.Leaves = slices.Concat(r.Leaves[32:], r.Leaves[:32]) }, "its leaves are not those of its record"},
		"another index":  {func(r *keystore.Receipt) { r.Proof = strings.Replace(r.Proof, "index 7", "index 5", 1) }, "is of another record"},
		"another log":    {func(r *keystore.Receipt) { *r = other }, "the checkpoint is not signed by the key of the log"},
		"a refusal":      {func(*keystore.Receipt) {}, "it is of a refusal"},
		"too long":       {func(r *keystore.Receipt) { r.Server = strings.Repeat("x", 2<<20) }, "it is too long"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, newSecret(t), 0, 5)
			proof, err := f.Append(t.Context(), refusal, details)
			must(t, err)
			list := f.receipts(t, 0, 3)
			if c.change(&list[1]); name == "a refusal" {
				list[1] = keystore.Receipt{Record: refusal, Proof: proof}
			}
			file, n := write(t, list...), 0
			var failed error
			for _, err := range file.Read(t.Context(), f.keys) {
				if err != nil {
					failed = errors.Join(failed, err)
				} else {
					n++
				}
			}
			if !errors.Is(failed, translog.ErrDamaged) || !strings.Contains(failed.Error(), "receipts: line 2: ") || !strings.Contains(failed.Error(), c.want) {
				t.Errorf("%v, want %q", failed, c.want)
			}
			if n != 2 && name != "too long" {
				t.Errorf("%d receipts are proved", n)
			}
			found, err := file.Find(t.Context(), f.keys, []tlog.Hash{leafOf(0, 6, 0), leafOf(0, 7, 0)})
			if err == nil || found[0] == nil || found[1] != nil {
				t.Errorf("found %v, %v", found, err)
			}
		})
	}
}

// TestOtherReceipts reads files that have none.
func TestOtherReceipts(t *testing.T) {
	for content, want := range map[string]string{"{}\n": "not a proof", "[]": "not a receipt", "\x00": "not a receipt"} {
		path := filepath.Join(t.TempDir(), "receipts")
		must(t, os.WriteFile(path, []byte(content), 0o600))
		if _, err := audit.Receipts(path).Find(t.Context(), []note.Verifier{}, nil); !errors.Is(err, translog.ErrDamaged) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if found, err := write(t).Find(t.Context(), nil, make([]tlog.Hash, 1)); err != nil || found[0] != nil {
		t.Errorf("an empty file: %v, %v", found, err)
	}
	if _, err := audit.Receipts("nowhere").Find(t.Context(), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// FuzzReceipts changes receipts. Whatever is accepted has the record and leaves that the log has.
func FuzzReceipts(f *testing.F) {
	log := newFixture(f, newSecret(f), 0, 5)
	list := log.receipts(f, 0, 3)
	var valid bytes.Buffer
	for _, r := range list {
		_, err := report.Receipt(r).Write(&valid)
		must(f, err)
	}
	f.Add(valid.Bytes())
	f.Add([]byte(`{"server":"a","record":"AA==","proof":"c2sp.org/tlog-proof@v1\nindex 0\n\n","leaves":""}`))
	path := filepath.Join(f.TempDir(), "receipts")
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(path, data, 0o600))
		for r, err := range audit.Receipts(path).Read(t.Context(), log.keys) {
			if err != nil {
				continue
			}
			if i := r.Index - 5; i < 0 || i > 2 || r.Leaves()[0] != tlog.Hash(list[i].Leaves[:32]) || len(r.Leaves())*32 != len(list[i].Leaves) {
				t.Errorf("accepted %q", data)
			}
		}
	})
}
