package sigcache

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// FuzzDatabase overwrites a part of a database, or of its log, with a patch, and cuts it. Whatever
// it is then, signing continues: nothing crashes or hangs, Get returns nothing that does
// not fit its digest's place, and Put keeps what is stored.
func FuzzDatabase(f *testing.F) {
	key := newSigner(f)
	dir, signatures := filled(f, key, 300)
	database, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		f.Fatal(err)
	}
	open := func() *Store {
		s, err := Open(context.Background(), dir, Options{})
		if err != nil {
			f.Fatal(err)
		}
		return s
	}
	s := open()
	more := key.batch(300, 350)
	s.Put(context.Background(), more, key.sign(f, more), nil)
	log, err := os.ReadFile(filepath.Join(dir, File+"-wal"))
	if err != nil || len(log) == 0 {
		f.Fatal(len(log), err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}

	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	f.Add(uint32(0), []byte(nil), uint32(1<<30), false)
	f.Add(uint32(16), []byte{2, 0}, uint32(1<<30), false)                        // size of pages
	f.Add(uint32(18), []byte{1, 1}, uint32(1<<30), false)                        // no log
	f.Add(uint32(28), number(0xffffffff), uint32(1<<30), false)                  // number of pages
	f.Add(uint32(32), append(number(3), number(9)...), uint32(1<<30), false)     // free pages
	f.Add(uint32(60), number(99), uint32(1<<30), false)                          // version
	f.Add(uint32(100), []byte{13, 0, 0, 0, 99}, uint32(1<<30), false)            // cells of the schema
	f.Add(uint32(8192), []byte{5, 0, 0, 0, 1, 0x0f, 0xff}, uint32(1<<30), false) // an inner page
	f.Add(uint32(4096*5), bytes.Repeat([]byte{0xff}, 4096), uint32(1<<30), false)
	f.Add(uint32(4096*3), slices.Repeat(number(3), 1024), uint32(1<<30), false) // leads in circles
	f.Add(uint32(0), []byte(nil), uint32(4096*3+7), false)
	f.Add(uint32(0), []byte(nil), uint32(1<<30), true)
	f.Add(uint32(32), []byte{1}, uint32(1<<30), true)
	f.Add(uint32(8), number(512), uint32(1<<30), true)
	f.Add(uint32(0), []byte(nil), uint32(1000), true)

	f.Fuzz(func(t *testing.T, offset uint32, patch []byte, size uint32, inLog bool) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{File: database, File + "-wal": log} {
			if data = slices.Clone(data); inLog == (name != File) {
				data = data[:min(int(size), len(data))]
				copy(data[min(int(offset), len(data)):], patch)
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		survives(t, key, dir, signatures)
	})
}

func survives(t *testing.T, key *signer, dir string, signatures [][]byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := newStore(dir, Options{Limit: 48 << 10, patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := key.batch(0, len(signatures))
	found := s.Get(ctx, b)
	refused := make([][]byte, len(found))
	for i := range found {
		if !bytes.Equal(found[i], signatures[i]) {
			refused[i] = found[i]
		}
	}
	kept := s.Put(ctx, b, signatures, refused)
	if _, err := s.Add(ctx, s.Entries(ctx)); err == nil && s.ended != nil {
		t.Errorf("a cache that is not used any more adds entries: %v", s.ended)
	}
	for e, err := range s.Entries(ctx) {
		if err == nil && e.Signature != nil && len(e.Digest) != e.Hash.Size() {
			t.Errorf("an entry with a digest of %d bytes", len(e.Digest))
		}
	}
	_, _ = s.Stats(ctx) // they may fail, but not crash or hang
	_, _ = s.Remove(ctx, func(e *Entry) bool { return e.Signature == nil })
	_ = s.Check(ctx)
	_, _ = s.Shrink(ctx, 0)
	if ctx.Err() != nil {
		t.Error("the cache hangs")
	}
	for i := range kept {
		if s.ended == nil && s.stores() && kept[i] == nil {
			t.Errorf("signature %d was not kept, and the cache does not say why", i)
			break
		}
	}
}
