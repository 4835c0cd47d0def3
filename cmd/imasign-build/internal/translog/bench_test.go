package translog

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkAppend appends batches of 1,024 signatures with claims, and reports the CPU time of
// the process for each. 16 requests are in progress.
func BenchmarkAppend(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "log")
	key, _ := testKey(b)
	must(b, Create(dir, key))
	l, err := Open(b.Context(), dir, key, Options{})
	must(b, err)
	record, details := recordOf(b, 1, 1024)
	var next atomic.Int64
	var all sync.WaitGroup
	before := cpu(b)
	b.ResetTimer()
	for range 16 {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				release, err := l.Reserve(int64(len(record) + len(details)))
				must(b, err)
				_, err = l.Append(b.Context(), record, details)
				must(b, err)
				release()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/1e6/float64(b.N), "cpu-ms/record")
	b.ReportMetric(float64(len(details)), "details-B")
	must(b, l.Close())
}

// cpu returns the CPU time of the process in nanoseconds.
func cpu(t testing.TB) int64 {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}
