package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// nightly skips a test that takes a minute or more.
func nightly(t testing.TB) {
	t.Helper()
	if !harness.Nightly() {
		t.Skip("IMASIGN_NIGHTLY=1 runs it")
	}
}

// maxMemory is what a server has at most, under any load.
const maxMemory = 64 << 20

// slim fails the test if the server had more than maxMemory.
func (s *service) slim() {
	s.Helper()
	peak := s.peak()
	s.Logf("memory of the server: %d MiB at most", peak>>20)
	if peak > maxMemory {
		s.Errorf("the server had %d MiB", peak>>20)
	}
}

// peak returns the peak resident memory of the server in bytes.
func (s *service) peak() int64 {
	s.Helper()
	var kib int64
	_, rest, _ := strings.Cut(read(s, "/proc/"+s.pid()+"/status"), "VmHWM:")
	_, err := fmt.Sscan(rest, &kib)
	check(s, err)
	return kib << 10
}

// quantile returns the duration that a part of all does not exceed.
func quantile(all []time.Duration, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}
