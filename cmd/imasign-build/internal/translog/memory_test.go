package translog

import (
	"runtime"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestMemory opens and searches a log of a million records: memory does not grow with them.
func TestMemory(t *testing.T) {
	if !harness.Nightly() {
		t.Skip("writes a million records")
	}
	dir, key := filled(t, 1_000_000)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	found, err := l.Find(t.Context(), []tlog.Hash{leafOf(3, 1), leafOf(999_999, 3), leafOf(5, 4)})
	must(t, err)
	if found[0] != 3 || found[1] != 999_999 || found[2] != -1 {
		t.Errorf("found %v", found)
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the open log takes %d bytes", grown)
	}
	var total [2]runtime.MemStats
	runtime.ReadMemStats(&total[0])
	grow(t, l, 0, 1000)
	runtime.ReadMemStats(&total[1])
	if each := (total[1].TotalAlloc - total[0].TotalAlloc) / 1000; each > 64<<10 {
		t.Errorf("%d bytes are allocated for a record", each)
	}
}
