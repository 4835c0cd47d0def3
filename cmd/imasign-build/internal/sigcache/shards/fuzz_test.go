package shards_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

func FuzzParseIndex(f *testing.F) {
	dir := f.TempDir()
	export(f, dir, entries([][]byte{key(f)}, 5))
	text, err := os.ReadFile(filepath.Join(dir, shards.IndexName))
	check(f, err)
	for _, seed := range []string{string(text), string(text[:len(text)-1]), "", "\n", "imasign-signatures", "imasign-signatures 1 0\n", "imasign-signatures 1 0", "imasign-signatures 2 0\n", "imasign-signatures 1 1\nima-signatures-00-../../x.shard 1 1\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := shards.ParseIndex(text)
		if err != nil {
			return
		}
		if !bytes.Equal(x.Text(), text) {
			t.Errorf("%q is read as %q", text, x.Text())
		}
		for i := range x {
			if name := x[i].Name(); filepath.Base(name) != name || x.Find(x[i].First) != &x[i] || !x.Has(name) {
				t.Errorf("%q", name)
			}
		}
	})
}

// FuzzShard reads files whose name and size are right. What is read without an error must be
// written again as the same file, and Get must agree with Entries.
func FuzzShard(f *testing.F) {
	list := entries([][]byte{key(f), key(f)}, 4000)
	for _, first := range []byte{0, 0x7f} {
		dir := f.TempDir()
		var some []sigcache.Entry
		for _, e := range list {
			if e.Address()[0] == first && len(some) < 4 {
				some = append(some, e)
			}
		}
		export(f, dir, some)
		content, err := os.ReadFile(filepath.Join(dir, index(f, dir)[0].Name()))
		check(f, err)
		for _, n := range []int{len(content), len(content) - 1, 32, 8, 0} {
			f.Add(content[:n])
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s := shards.Shard{SHA256: sha256.Sum256(content), Size: int64(len(content)), Entries: 1}
		if len(content) >= 24 {
			s.First, s.Entries = content[15], int64(binary.BigEndian.Uint32(content[20:]))
		}
		file, err := shards.NewFile(bytes.NewReader(content), &s)
		var list []sigcache.Entry
		for e, err2 := range shards.Entries(bytes.NewReader(content), &s) {
			if err != nil && err2 == nil {
				t.Fatalf("NewFile: %v, but Entries yields", err)
			}
			if err2 != nil {
				if err == nil { // of a damaged file Get may find anything
					_, _ = file.Get(sha256.Sum256(content), make([]byte, 32))
				}
				return
			}
			list = append(list, e)
		}
		for _, e := range list {
			if got, err := file.Get(e.Address(), e.Digest); err != nil || !bytes.Equal(got, e.Signature) {
				t.Errorf("Get %x: %x, %v", e.Digest, got, err)
			}
		}
		if len(list) > 0 {
			if again, text, err := shards.Build(list); err != nil || again != s || !bytes.Equal(text, content) {
				t.Errorf("%s is written again as %s: %v", s.Name(), again.Name(), err)
			}
		}
	})
}
