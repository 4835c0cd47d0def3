package bench

import (
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// BenchmarkVerity computes the fs-verity digests of a tree, and those of its contents. Its
// figures are ratios of wall-clock and of processor time to the digests of the contents.
func BenchmarkVerity(b *testing.B) {
	harness.Root(b)
	program, tree := harness.Program(b), b.TempDir()
	have := harness.CopyOfUsr(b, tree, files(b))
	for _, hash := range []string{"sha256", "sha512"} {
		b.Run(hash, func(b *testing.B) {
			args := []string{"rootfs", "sign", "--progress=none", "--dry-run", "--hash", hash, tree}
			var wall, cpu [2]float64
			for b.Loop() {
				for i, flags := range [][]string{nil, {"--verity", "*"}} {
					wall[i] += timed(func() { cpu[i] += harness.RunMeasured(b, program, append(args, flags...)...).CPU })
				}
			}
			b.ReportMetric(float64(have), "files")
			b.ReportMetric(wall[0]/float64(b.N), "content-s")
			b.ReportMetric(wall[1]/wall[0], "verity-of-content")
			b.ReportMetric(cpu[1]/cpu[0], "verity-cpu-of-content")
			b.ReportMetric(0, "ns/op")
		})
	}
}
