// Package bench compares the program's speed with that of its peers, in one run on the
// same files. Its figures are ratios. `make bench` runs it.
package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// files returns about how many files the measured tree has, which IMASIGN_BENCH_FILES
// sets.
func files(b *testing.B) int {
	text, set := os.LookupEnv("IMASIGN_BENCH_FILES")
	if !set {
		return 18_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("IMASIGN_BENCH_FILES %q: not a number", text)
	}
	return n
}

func timed(run func()) float64 {
	start := time.Now()
	run()
	return time.Since(start).Seconds()
}

// BenchmarkTree signs a copy of real files with both programs. Each run is a process of
// its own, and signatures are removed before it.
func BenchmarkTree(b *testing.B) {
	harness.Root(b)
	harness.Tool(b, "evmctl")
	program, tree := harness.Program(b), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	for _, algorithm := range []string{"rsa2048", "p256"} {
		b.Run(algorithm, func(b *testing.B) {
			keys := harness.Keys(b, algorithm)
			sign := []string{"rootfs", "sign", "--progress=none", "--key", filepath.Join(keys, "x509_ima.key"), "--cert", filepath.Join(keys, "x509_ima.crt"), tree}
			var ours, theirs float64
			var rss int64
			for b.Loop() {
				harness.Must(b, program, "rootfs", "strip", tree)
				theirs += timed(func() {
					harness.Must(b, "evmctl", "ima_sign", "-r", "--key", filepath.Join(keys, "x509_ima.key"), tree)
				})
				harness.Must(b, program, "rootfs", "strip", tree)
				ours += timed(func() { rss = max(rss, harness.RunMeasured(b, program, sign...).MaxRSS) })
			}
			harness.Must(b, program, "rootfs", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), tree)
			b.ReportMetric(float64(have), "files")
			b.ReportMetric(ours/float64(b.N), "s")
			b.ReportMetric(theirs/float64(b.N), "evmctl-s")
			b.ReportMetric(theirs/ours, "times-evmctl")
			b.ReportMetric(float64(rss)/1e6, "MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}
