package service

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestFullDisk fills the file system of the log. Then nothing is signed, and clients and
// monitoring are told. When there is space again, the server signs again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	harness.Root(t)
	disk := t.TempDir()
	harness.Must(t, "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk)
	t.Cleanup(func() { harness.Must(t, "umount", disk) })
	s := serviceIn(t, filepath.Join(disk, "service"), harness.Keys(t, "p256"))
	s.start()
	w := s.wire(s.own())
	w.is(w.ask(w.request(1)), "")
	fill(t, filepath.Join(disk, "filler"))
	for _, size := range []int{1024, 200, 40, 1} { // a small record may fit where a large one does not
		var last reply
		s.await("the log is full", func() bool {
			last = w.ask(w.request(size))
			return last.err != nil || last.refusal != nil
		})
		w.is(last, protocol.LogFailed)
		if last.again == "" {
			t.Error("no Retry-After")
		}
	}
	signatures := s.metric("imasign_signatures_total")
	s.refused(s.build("timeout=2s"), files(t, 100), "refused (log-failed)")
	if n := s.metric("imasign_signatures_total"); n != signatures {
		t.Errorf("%v signatures", n-signatures)
	}
	demand(t, read(t, s.output), "the log cannot be written, so nothing is signed", "no space left on device")
	if s.status("/readyz") == 200 || s.status("/healthz") != 200 || s.metric("imasign_log_errors_total") == 0 {
		t.Error("monitoring is not told")
	}

	check(t, os.Remove(filepath.Join(disk, "filler")))
	tree := files(t, 100)
	s.signed(s.build(), "rootfs sign", tree)
	s.accepted(tree)
	s.stop()
	s.start()
	w.is(w.ask(w.request(1)), "")
}

// fill writes a file until the file system is full.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	check(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 1; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
