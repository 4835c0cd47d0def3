package shards_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
)

func index(t testing.TB, dir string) shards.Index {
	t.Helper()
	d, err := shards.Open(dir)
	check(t, err)
	defer d.Close()
	x, err := d.Index()
	check(t, err)
	return x
}

// without returns the entries whose addresses do not begin with first.
func without(list []sigcache.Entry, first byte) []sigcache.Entry {
	return slices.DeleteFunc(slices.Clone(list), func(e sigcache.Entry) bool { return e.Address()[0] == first })
}

func TestOldShardsStayForADay(t *testing.T) {
	dir := t.TempDir()
	list := entries([][]byte{key(t)}, 40)
	first := list[0].Address()[0]
	export(t, dir, list)
	dropped := filepath.Join(dir, index(t, dir)[0].Name())
	left := filepath.Join(dir, ".ima-signatures-left-by-a-crash")
	foreign := filepath.Join(dir, "README")
	check(t, os.WriteFile(left, nil, 0o644))
	check(t, os.WriteFile(foreign, nil, 0o644))
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{dropped, foreign} { // an old shard, which the index lists until now
		check(t, os.Chtimes(name, long, long))
	}
	list = without(list, first)
	if s := export(t, dir, list); s.Removed != 0 || s.Written != 0 {
		t.Errorf("after the change: %+v", s)
	}
	if _, err := os.Stat(dropped); err != nil {
		t.Errorf("a shard that was listed a moment ago: %v", err)
	}
	for _, name := range []string{dropped, left} {
		check(t, os.Chtimes(name, long, long))
	}
	if s := export(t, dir, list); s.Removed != 1 {
		t.Errorf("a day later: %+v", s)
	}
	if want, got := len(index(t, dir))+2, names(t, dir); len(got) != want || !slices.Contains(got, "README") {
		t.Errorf("%d files, not %d: %q", len(got), want, got)
	}
}

// TestAShardThatComesBack lists a shard again that was to be removed.
func TestAShardThatComesBack(t *testing.T) {
	dir := t.TempDir()
	list := entries([][]byte{key(t)}, 40)
	export(t, dir, list)
	back := filepath.Join(dir, index(t, dir)[0].Name())
	export(t, dir, without(list, list[0].Address()[0]))
	long := time.Now().Add(-48 * time.Hour)
	check(t, os.Chtimes(back, long, long))
	if s := export(t, dir, list); s.Written != 0 || s.Removed != 0 {
		t.Errorf("%+v", s)
	}
	info, err := os.Stat(back)
	check(t, err)
	if time.Since(info.ModTime()) > time.Hour {
		t.Error("another export, which has not read the new index, may remove it")
	}
}

func TestAFailedExportChangesNothing(t *testing.T) {
	dir := t.TempDir()
	list := entries([][]byte{key(t)}, 2000)
	export(t, dir, list[:1000])
	before := index(t, dir)
	failure := errors.New("the database is gone")
	for name, sequence := range map[string]func(yield func(sigcache.Entry, error) bool){
		"error": func(yield func(sigcache.Entry, error) bool) {
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
			yield(sigcache.Entry{}, failure)
		},
		"order": func(yield func(sigcache.Entry, error) bool) {
			_ = yield(list[1999], nil) && yield(list[0], nil)
		},
	} {
		if _, err := shards.Export(context.Background(), dir, sequence); err == nil || name == "error" && !errors.Is(err, failure) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(index(t, dir), before) || len(read(t, dir)) != 1000 {
			t.Errorf("%s: the old files have changed", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := shards.Export(ctx, dir, all(list)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if s := export(t, dir, list); s.Entries != 2000 {
		t.Errorf("%+v", s)
	}
}

func TestExportRepairs(t *testing.T) {
	dir := t.TempDir()
	list := entries([][]byte{key(t)}, 100)
	export(t, dir, list)
	x := index(t, dir)
	damage := filepath.Join(dir, x[3].Name())
	content, err := os.ReadFile(damage)
	check(t, err)
	content[len(content)-1] ^= 1
	check(t, os.WriteFile(damage, content, 0o644))
	check(t, os.WriteFile(filepath.Join(dir, shards.IndexName), []byte("garbage"), 0o644))
	if s := export(t, dir, list); s.Written != 1 {
		t.Errorf("%+v", s)
	}
	if got := read(t, dir); !slices.EqualFunc(got, list, equal) {
		t.Error("not repaired")
	}
}

func TestExportKeepsWhatIsNewer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, shards.IndexName)
	check(t, os.WriteFile(path, []byte("imasign-signatures 2 0\nsomething else\n"), 0o644))
	_, err := shards.Export(context.Background(), dir, all(entries([][]byte{key(t)}, 10)))
	if !errors.Is(err, shards.ErrNewer) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestTheFirstOfEqualAddressesIsWritten(t *testing.T) {
	dir := t.TempDir()
	list := entries([][]byte{key(t)}, 1)
	other := list[0]
	other.Signature = []byte("another one")
	if s := export(t, dir, []sigcache.Entry{list[0], other}); s.Entries != 1 {
		t.Errorf("%+v", s)
	}
	if got := read(t, dir); !slices.EqualFunc(got, list, equal) {
		t.Errorf("%+v", got)
	}
}

func TestEntriesThatCannotBeShared(t *testing.T) {
	for name, change := range map[string]func(e *sigcache.Entry){
		"no key":            func(e *sigcache.Entry) { e.Key = nil },
		"large key":         func(e *sigcache.Entry) { e.Key = make([]byte, 1<<16) },
		"long name":         func(e *sigcache.Entry) { e.Form.Xattr = strings.Repeat("x", 256) },
		"unknown form":      func(e *sigcache.Entry) { e.Form.Over = 3 },
		"short digest":      func(e *sigcache.Entry) { e.Digest = e.Digest[1:] },
		"unknown hash":      func(e *sigcache.Entry) { e.Hash, e.Digest = 200, nil },
		"no signature":      func(e *sigcache.Entry) { e.Signature = nil },
		"a large signature": func(e *sigcache.Entry) { e.Signature = make([]byte, 1<<16) },
	} {
		e := sigcache.Entry{Key: []byte{1}, Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: make([]byte, 32), Signature: []byte{1}}
		dir := t.TempDir()
		change(&e)
		if _, err := shards.Export(context.Background(), dir, all([]sigcache.Entry{e})); err == nil || len(names(t, dir)) != 0 {
			t.Errorf("%s: %v, %q", name, err, names(t, dir))
		}
	}
}

func TestExportOfNothing(t *testing.T) {
	dir := t.TempDir()
	if s := export(t, dir, nil); s != (shards.Summary{}) {
		t.Errorf("%+v", s)
	}
	if x := index(t, dir); len(x) != 0 {
		t.Errorf("%v", x)
	}
}
