package shards_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key returns the public key of a new P-256 key.
func key(t testing.TB) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	check(t, err)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	der, err := sigcache.KeyOf(public)
	check(t, err)
	return der
}

// entries returns n entries with signatures of random bytes, in the order that Export needs.
// The same key gets the same digests.
func entries(keys [][]byte, n int) []sigcache.Entry {
	list := make([]sigcache.Entry, n)
	for i := range list {
		e := &list[i]
		e.Key = keys[i%len(keys)]
		e.Form, e.Hash = ima.ContentSignature(), ima.SHA256
		if i%3 == 1 {
			e.Form = ima.PortableSignature()
		}
		if i%5 == 1 {
			e.Hash = ima.SHA512
		}
		digest := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		e.Digest = append(digest[:], digest[:]...)[:e.Hash.Size()]
		e.Signature = make([]byte, 64+i%8)
		for j := range e.Signature {
			e.Signature[j] = byte(rand.Uint32())
		}
	}
	slices.SortFunc(list, func(x, y sigcache.Entry) int {
		a, b := x.Address(), y.Address()
		return bytes.Compare(a[:], b[:])
	})
	return list
}

func all(list []sigcache.Entry) iter.Seq2[sigcache.Entry, error] {
	return func(yield func(sigcache.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func export(t testing.TB, dir string, list []sigcache.Entry) shards.Summary {
	t.Helper()
	s, err := shards.Export(context.Background(), dir, all(list))
	check(t, err)
	return s
}

// read returns all entries in a directory.
func read(t testing.TB, dir string) (list []sigcache.Entry) {
	t.Helper()
	d, err := shards.Open(dir)
	check(t, err)
	defer d.Close()
	x, err := d.Index()
	check(t, err)
	for i := range x {
		f, err := d.Shard(&x[i])
		check(t, err)
		for e, err := range shards.Entries(f, &x[i]) {
			check(t, err)
			list = append(list, e)
		}
		f.Close()
	}
	return list
}

func equal(x, y sigcache.Entry) bool {
	return x.Address() == y.Address() && bytes.Equal(x.Key, y.Key) && x.Form == y.Form && x.Hash == y.Hash &&
		bytes.Equal(x.Digest, y.Digest) && bytes.Equal(x.Signature, y.Signature)
}

func TestWhatIsExportedIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shared")
	list := entries([][]byte{key(t), key(t), key(t)}, 24000)
	s := export(t, dir, list)
	if s.Entries != int64(len(list)) || s.Shards != 256 || s.Written != 256 || s.Removed != 0 {
		t.Errorf("%+v", s)
	}
	if got := read(t, dir); !slices.EqualFunc(got, list, equal) {
		t.Errorf("read %d other entries than the %d that were written", len(got), len(list))
	}
	d, err := shards.Open(dir)
	check(t, err)
	x, err := d.Index()
	check(t, err)
	open := map[byte]*shards.File{}
	for i := range x {
		f, err := d.Shard(&x[i])
		check(t, err)
		defer f.Close()
		open[x[i].First], err = shards.NewFile(f, &x[i])
		check(t, err)
	}
	check(t, d.Close())
	for _, e := range list {
		a := e.Address()
		if got, err := open[a[0]].Get(a, e.Digest); err != nil || !bytes.Equal(got, e.Signature) {
			t.Fatalf("%x: %x, %v", a, got, err)
		}
		a[31]++
		if got, err := open[a[0]].Get(a, e.Digest); err != nil || got != nil {
			t.Fatalf("%x: %x, %v", a, got, err)
		}
	}
}

// TestExportAgain compares names, content and times of the files.
func TestExportAgain(t *testing.T) {
	dir := t.TempDir()
	list := entries([][]byte{key(t)}, 3000)
	export(t, dir, list)
	state := func() (text string) {
		files, err := os.ReadDir(dir)
		check(t, err)
		for _, f := range files {
			info, err := f.Info()
			check(t, err)
			content, err := os.ReadFile(filepath.Join(dir, f.Name()))
			check(t, err)
			text += f.Name() + info.ModTime().String() + string(content)
		}
		return text
	}
	before := state()
	if s := export(t, dir, list); s.Written != 0 || s.Entries != 3000 || state() != before {
		t.Errorf("%+v, or a file has changed", s)
	}
}
