package signing

import (
	"strings"
	"testing"
	"unsafe"
)

// TestSpoolOfADeepTree spools a chain of directories. The size in the spool, and in memory
// when it is read, must be proportional to the number of names.
func TestSpoolOfADeepTree(t *testing.T) {
	const depth = 5000
	whole := strings.Repeat("d/", depth)
	s := &spool{dir: t.TempDir()}
	defer s.close()
	var want []string
	for i := range depth {
		want = append(want, whole[:2*i+1])
	}
	for i := depth - 1; i >= 0; i-- {
		want = append(want, whole[:2*i]+"file")
	}
	for _, path := range want {
		if err := s.add(&Record{Entry: Entry{Path: path}}); err != nil {
			t.Fatal(err)
		}
	}
	if size := s.size + int64(s.mem.Len()); size > 100*int64(len(want)) {
		t.Errorf("%d bytes for %d records", size, len(want))
	}
	n, buffers := 0, map[*byte]bool{}
	for r, err := range s.all() {
		if err != nil || r.Path != want[n] {
			t.Fatalf("record %d has a path of %d bytes, not %d (%v)", n, len(r.Path), len(want[n]), err)
		}
		if one, err := s.record(r.offset, r.Path); n%1000 == 0 && (err != nil || one.Path != r.Path) {
			t.Errorf("record %d, read by its offset: %v", n, err)
		}
		if n++; n <= depth {
			buffers[unsafe.StringData(r.Path)] = true
		}
	}
	if n != len(want) || len(buffers) > 100 {
		t.Errorf("%d records of %d, the chain in %d allocations", n, len(want), len(buffers))
	}
}

func TestPathReaderRefuses(t *testing.T) {
	var p pathReader
	for _, shared := range []int{-1, 1} {
		if _, err := p.next(shared, "x"); err == nil {
			t.Errorf("%d bytes shared with the empty path are accepted", shared)
		}
	}
}
