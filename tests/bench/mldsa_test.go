package bench

import (
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// BenchmarkMLDSA signs and verifies a tree with ML-DSA keys. Its figures are ratios of
// wall-clock and of processor time to those with an RSA-2048 key on the same tree. (Values
// of ML-DSA-87 do not fit on every file system, so it is left out.)
func BenchmarkMLDSA(b *testing.B) {
	harness.Root(b)
	program, tree := harness.Program(b), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	measure := func(keys string) (wall, cpu [2]float64) {
		harness.Must(b, program, "rootfs", "strip", tree)
		for i, args := range [][]string{
			{"rootfs", "sign", "--progress=none", "--key", keys, tree},
			{"rootfs", "verify", "--progress=none", "--cert", keys, tree},
		} {
			wall[i] = timed(func() { cpu[i] = harness.RunMeasured(b, program, args...).CPU })
		}
		return wall, cpu
	}
	rsa := keysOf(b, program, "rsa2048")
	for _, algorithm := range []string{"mldsa44", "mldsa65"} {
		b.Run(algorithm, func(b *testing.B) {
			keys := keysOf(b, program, algorithm)
			var wall, cpu, wallRSA, cpuRSA [2]float64
			for b.Loop() {
				w, c := measure(rsa)
				ow, oc := measure(keys)
				for i := range 2 {
					wallRSA[i], cpuRSA[i] = wallRSA[i]+w[i], cpuRSA[i]+c[i]
					wall[i], cpu[i] = wall[i]+ow[i], cpu[i]+oc[i]
				}
			}
			b.ReportMetric(float64(have), "files")
			b.ReportMetric(wallRSA[0]/float64(b.N), "rsa-s")
			for i, verb := range []string{"sign", "verify"} {
				b.ReportMetric(wall[i]/wallRSA[i], verb+"-of-rsa2048")
				b.ReportMetric(cpu[i]/cpuRSA[i], verb+"-cpu-of-rsa2048")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// keysOf returns a directory with a new key of an algorithm.
func keysOf(b *testing.B, program, algorithm string) string {
	b.Helper()
	keys := filepath.Join(b.TempDir(), "keys")
	harness.Must(b, program, "key", "init", "--algorithm", algorithm, keys)
	return keys
}
