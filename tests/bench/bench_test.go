// Package bench compares the program's speed with that of its peers, in one run on the
// same files. Its figures are ratios. `make bench` runs it.
package bench

import (
	"fmt"
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

// BenchmarkEVM signs a tree with security.ima only, with security.evm in addition, and with
// a digest under security.evm. Its figures are ratios of wall-clock and of processor time
// to security.ima only.
func BenchmarkEVM(b *testing.B) {
	harness.Root(b)
	program, tree := harness.Program(b), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	for _, algorithm := range []string{"rsa2048", "p256"} {
		b.Run(algorithm, func(b *testing.B) {
			keys := b.TempDir()
			harness.Must(b, program, "key", "init", "--algorithm", algorithm, "--with", "evm", filepath.Join(keys, "keys"))
			keys = filepath.Join(keys, "keys")
			var wall, cpu [3]float64
			for b.Loop() {
				for i, flags := range [][]string{nil, {"--evm", "portable", "--evm-target", "64le"}, {"--evm", "portable", "--evm-target", "64le", "--ima", "digest"}} {
					harness.Must(b, program, "rootfs", "strip", tree)
					args := append(append([]string{"rootfs", "sign", "--progress=none", "--key", keys}, flags...), tree)
					wall[i] += timed(func() { cpu[i] += harness.RunMeasured(b, program, args...).CPU })
				}
			}
			harness.Must(b, program, "rootfs", "verify", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", "64le", tree)
			b.ReportMetric(float64(have), "files")
			b.ReportMetric(wall[0]/float64(b.N), "ima-s")
			b.ReportMetric(wall[1]/wall[0], "evm-of-ima")
			b.ReportMetric(wall[2]/wall[0], "digest-evm-of-ima")
			b.ReportMetric(cpu[1]/cpu[0], "evm-cpu-of-ima")
			b.ReportMetric(cpu[2]/cpu[0], "digest-evm-cpu-of-ima")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkTree signs a copy of real files with both programs. Each run is a process of
// its own, and signatures are removed before it.
func BenchmarkTree(b *testing.B) {
	harness.Root(b)
	harness.Tool(b, "evmctl")
	program, tree := harness.Program(b), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	rows := []string{"| key | imasign-build | memory | `evmctl ima_sign -r` 1.4 | ratio |", "| --- | ---: | ---: | ---: | ---: |"}
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
			rows = append(rows, fmt.Sprintf("| %s | %.1f s | %d MB | %.1f s | %.1f |", keyName(algorithm), ours/float64(b.N), rss/1e6, theirs/float64(b.N), theirs/ours))
		})
	}
	record(b, "tree", rows)
}
